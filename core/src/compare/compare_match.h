// The runs of a comparison, whether they can be compared, and which layers are the same.
#pragma once

#include <string>
#include <vector>

#include "compare_sample.h"
#include "store.h"

namespace bitfall {

/// A run as a comparison needs it.
struct ComparedRun {
  RunDescription run;
  std::string directory;
  std::vector<GoldenResult> golden;  // in the order of images
  std::vector<LayerTrials> trials;   // by layer, in the order of run.strata

  const Site& site(std::size_t layer) const;
  /// Whether the layer is the output of a conv, linear or matmul.
  bool is_product(std::size_t layer) const;
  /// Whether the layer belongs to a head that `bitfall head attach` put in.
  bool in_head(std::size_t layer) const;
};

/// Throws Error(kInput) where the two saw other images or labels, or measured other things.
void check_comparable(const ComparedRun& baseline, const ComparedRun& arm);

/// What may differ but must be known to the reader: "formats differ: A fp16, B fp32".
std::vector<std::string> differences(const ComparedRun& baseline, const std::string& baseline_label,
                                     const ComparedRun& arm, const std::string& label);

/// By the arm's layer: the baseline's layer of the same entry of the campaign, target and name, or
/// -1. A name may begin by `backbone.` in one of the two. An entry stands for the one of the same
/// error model, else for that at its place among those without such a partner.
std::vector<int> matching_layers(const ComparedRun& baseline, const ComparedRun& arm);

}  // namespace bitfall
