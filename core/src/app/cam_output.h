// Ablation-CAMs as pictures, a table, JSON and a page.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cam.h"
#include "data_config.h"
#include "image.h"

namespace bitfall {

/// One image, before a fault and, where there is one, after it.
struct CamCase {
  std::string name;   // of its files: "17", "17_trial_4"; distinct
  std::string image;  // its name
  std::string target_class;
  Image picture;  // what the network sees, as pixels
  CamMap before;
  // With a fault:
  std::optional<std::int64_t> trial;
  std::string layer;  // that is hit
  std::optional<CamMap> after;
  std::optional<CamLikeness> alike;  // where both have a map
};

/// How alike maps are before and after the faults of one layer.
struct CamLayer {
  std::string name;
  std::int64_t trials = 0;
  std::int64_t no_map = 0;                          // no map after the fault: NaN, Inf, a crash
  std::int64_t other_answer = 0;                    // another top-1, or no map
  std::vector<double> intersections, correlations;  // of those with a map; NaN ones left out
};

struct CamReport {
  std::string model, site;
  std::string run;               // whose faults, or empty
  std::vector<CamCase> cases;    // with pictures
  std::vector<CamLayer> layers;  // of many faults; empty where each has its picture
};

/// Pixels of a preprocessed image of `shape`: the preprocessing undone, or for a float array
/// without one its values from the smallest to the largest.
Image picture_of(std::span<const float> image, std::array<std::int64_t, 3> shape,
                 const Preprocess& steps);

std::string cam_text(const CamReport& report);
/// {"schema":"bitfall.cam/1", ...}
std::string cam_json(const CamReport& report);
/// Writes NAME_before.png, NAME_after.png of every case and cam.html into the folder, which is
/// made.
void write_cam_pictures(const CamReport& report, const std::filesystem::path& folder);

}  // namespace bitfall
