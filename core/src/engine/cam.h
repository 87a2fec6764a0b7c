// Ablation-CAM (Desai and Ramaswamy, WACV 2020): which parts of an image a class's logit hangs on,
// found by leaving out one channel after the other; before and after a fault. No LibTorch type is
// needed to include this.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bitfall/error_model.h"
#include "model.h"

namespace bitfall {

class EmulatedModel;

/// What a fault does: edits of one site's stored bits, on whatever lies there when they are made.
struct CamFault {
  std::int32_t site = 0;
  std::vector<Edit> edits;
  std::optional<float> clamp;  // as in inject()
};

/// y: the logit of `target`; y_k: the same where channel k of the site is a constant, which is 0
/// where no value of the site is negative, else its smallest one. The map is ReLU(sum over k of
/// (y - y_k) / y x channel k), minus its minimum, over its maximum.
struct CamMap {
  std::int64_t height = 0, width = 0;
  std::vector<float> values;    // [height, width], 0 to 1; all 0 where the sum is positive nowhere
  std::vector<double> weights;  // (y - y_k) / y, by channel
  std::int32_t target = 0;      // class
  std::int32_t top1 = 0;        // of the answer, without an ablation
  double answer = 0;            // y
  std::string failure;          // why there is no map; empty if there is one
};

/// Runs only the steps behind the site, `batch` ablations in a pass.
class AblationCam {
 public:
  /// Of a network without number formats. Borrows it.
  AblationCam(const Model& model, std::int32_t site);
  /// Of the network as a campaign sees it. Borrows it.
  AblationCam(const EmulatedModel& model, std::int32_t site);
  ~AblationCam();

  /// `image`: C*H*W floats. `number`: the image's index in the campaign's data, of which stochastic
  /// formats round by. `target`: the class, nothing = the answer's top-1. What a fault makes of the
  /// network (NaN, an exception, a loop that does not end) is told by CamMap::failure.
  CamMap map(std::span<const float> image, std::int32_t number, std::optional<std::int32_t> target,
             const CamFault* fault) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The last site that holds maps, [C, H, W] with H x W above 1, or the site of this name. Throws
/// Error(kUsage) where there is none of the name, Error(kInput) where it holds no maps.
std::int32_t cam_site(const Model& model, const std::string& name);

/// Bilinear, as torch.nn.functional.interpolate(mode="bilinear", align_corners=False).
std::vector<float> enlarged(const CamMap& map, std::int64_t height, std::int64_t width);

/// How alike two maps of one size are.
struct CamLikeness {
  /// Of the fifth of places with the largest values, of those above 0: those in both over those in
  /// either. Places that equal the last of the fifth all count. 1 where both maps are 0.
  double intersection_over_union = 0;
  double correlation = 0;  // Pearson's; NaN where a map is constant
};
CamLikeness likeness(std::span<const float> before, std::span<const float> after);

}  // namespace bitfall
