#include "loss_sample.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "mean_draws.h"

namespace bitfall {
namespace {

// Percentile by linear interpolation between the ordered values (as numpy's default), of which the
// first `zeros` are 0.
double percentile(std::size_t zeros, const std::vector<double>& ordered, double q) {
  const std::size_t count = zeros + ordered.size();
  if (count == 0) return std::numeric_limits<double>::quiet_NaN();
  const auto at = [&](std::size_t i) { return i < zeros ? 0 : ordered[i - zeros]; };
  const double position = q * static_cast<double>(count - 1);
  const auto below = static_cast<std::size_t>(position);
  const auto above = std::min(below + 1, count - 1);
  return at(below) + (position - static_cast<double>(below)) * (at(above) - at(below));
}

}  // namespace

void LossSample::Sum::add(double part) {
  sum += part;
  squared += part * part;
}

void LossSample::Numbers::add(double value) {
  constexpr std::size_t kFirst = 16, kMost = 4096;
  if (blocks_.empty() || blocks_.back().size() == blocks_.back().capacity()) {
    blocks_.emplace_back().reserve(std::clamp(size_, kFirst, kMost));
  }
  blocks_.back().push_back(value);
  ++size_;
}

void LossSample::Numbers::add(const Numbers& other) {
  for (const auto& block : other.blocks_) {
    for (const double value : block) add(value);
  }
}

std::vector<double> LossSample::Numbers::take() {
  std::vector<double> all;
  all.reserve(size_);
  for (auto& block : blocks_) {
    all.insert(all.end(), block.begin(), block.end());
    block = {};
  }
  blocks_.clear();
  size_ = 0;
  return all;
}

void LossSample::add(std::int64_t fault, bool shared, double delta, double clipped) {
  if (!open_ || fault != fault_) {
    close();
    open_ = true;
    fault_ = fault;
    shared_ = shared;
    loss_ = clip_ = {0, 0};
  }
  clip_.sum += clipped;
  clip_.size += 1;
  if (!std::isfinite(delta)) {
    cut_ += !shared;
    return;
  }
  loss_.sum += delta;
  loss_.size += 1;
  ++finite_;
  changing_ += delta > 0;
  if (keep_ && delta > 0) (shared ? together_ : alone_).add(delta);
}

void LossSample::close() {
  if (!open_) return;
  open_ = false;
  add_draw(loss_units_, units_, loss_);
  add_draw(clip_units_, units_, clip_);
  ++units_;
  loss_sum_.add(loss_.sum);
  clip_sum_.add(clip_.sum);
  if (!keep_ || !shared_) return;
  if (loss_.sum != 0) faults_.add(loss_.sum);
  if (clip_.sum != 0) clipped_faults_.add(clip_.sum);
}

void LossSample::collect(LossSample& part) {
  part.close();
  alone_.add(part.alone_);
  together_.add(part.together_);
  faults_.add(part.faults_);
  clipped_faults_.add(part.clipped_faults_);
}

const std::vector<MeanUnit>& LossSample::losses() {
  close();
  return loss_units_;
}

const std::vector<MeanUnit>& LossSample::clipped() {
  close();
  return clip_units_;
}

LossSample::Spread LossSample::spread(double clip) {
  close();
  Spread spread;
  spread.finite = finite_;
  spread.changing = changing_;
  std::vector<double> parts = alone_.take();
  std::sort(parts.begin(), parts.end());
  {
    std::vector<double> ordered = together_.take();
    const std::vector<double>* changing = &parts;
    if (!ordered.empty()) {
      ordered.insert(ordered.end(), parts.begin(), parts.end());
      std::sort(ordered.begin(), ordered.end());
      changing = &ordered;
    }
    const auto zeros = static_cast<std::size_t>(finite_) - changing->size();
    spread.median = percentile(zeros, *changing, 0.5);
    spread.p99 = percentile(zeros, *changing, 0.99);
    spread.maximum = percentile(zeros, *changing, 1);
  }
  const auto carried = [&](Numbers& faults, const Sum& sum) {
    const std::vector<double> more = faults.take();
    if (more.empty()) return concentration_of(sum.sum, sum.squared, parts);
    std::vector<double> all = parts;
    all.insert(all.end(), more.begin(), more.end());
    std::sort(all.begin(), all.end());
    return concentration_of(sum.sum, sum.squared, all);
  };
  spread.carried = carried(faults_, loss_sum_);
  for (double& part : parts) part = std::min(part, clip);
  if (clip > 0) parts.insert(parts.end(), static_cast<std::size_t>(cut_), clip);
  spread.clipped_carried = carried(clipped_faults_, clip_sum_);
  return spread;
}

}  // namespace bitfall
