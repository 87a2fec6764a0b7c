#include "recipe.h"

#include <algorithm>
#include <string>
#include <vector>

#include "log.h"
#include "numbers.h"
#include "words.h"

namespace bitfall {
namespace {

std::string list_of(const std::vector<double>& values) {
  std::vector<std::string> words;
  for (const double value : values) words.push_back(short_text(value));
  return "[" + joined(words) + "]";
}

}  // namespace

void follow_card(DataConfig& data, const ModelCard& card, const std::filesystem::path& model) {
  Preprocess& steps = data.preprocess;
  const std::string& wanted = card.interpolation;
  if (steps.resize && !wanted.empty()) {
    const auto known = std::find(kInterpolationNames.begin(), kInterpolationNames.end(), wanted);
    const std::string its = model.string() + ": its card asks for interpolation '" + wanted + "'";
    if (steps.interpolation) {
      const char* given = kInterpolationNames[static_cast<std::size_t>(*steps.interpolation)];
      if (wanted != given) log_warning(its + ", and [data] preprocess for '" + given + "'");
    } else if (known == kInterpolationNames.end()) {
      log_warning(its + ", which is not known; images are resized by bilinear interpolation");
    } else {
      steps.interpolation = static_cast<Interpolation>(known - kInterpolationNames.begin());
      if (steps.interpolation != Interpolation::kBilinear) {
        log_info(its + ": images are resized so");
      }
    }
  }
  // A float array may have been normalised already.
  if (data.path.extension() == ".npy" || !steps.mean.empty() || !steps.std.empty()) return;
  if (card.mean.empty() || card.std.empty()) return;
  log_warning(model.string() + ": its card asks for mean = " + list_of(card.mean) +
              " and std = " + list_of(card.std) + ", and [data] preprocess names neither");
}

}  // namespace bitfall
