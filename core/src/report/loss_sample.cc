#include "loss_sample.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

#include "mean_draws.h"

namespace bitfall {
namespace {

// The i-th of ordered values, counted from 0, of which the first `zeros` are 0.
double value_at(std::int64_t i, std::int64_t zeros, const std::vector<Counted>& ordered) {
  std::int64_t before = zeros;
  if (i < before) return 0;
  for (const Counted& value : ordered) {
    before += value.count;
    if (i < before) return value.value;
  }
  return ordered.back().value;
}

// Percentile by linear interpolation between `count` ordered values (as numpy's default).
double percentile(std::int64_t count, std::int64_t zeros, const std::vector<Counted>& ordered,
                  double q) {
  if (count == 0) return std::numeric_limits<double>::quiet_NaN();
  const double position = q * static_cast<double>(count - 1);
  const auto below = static_cast<std::int64_t>(position);
  const std::int64_t above = std::min(below + 1, count - 1);
  const double low = value_at(below, zeros, ordered), high = value_at(above, zeros, ordered);
  return low + (position - static_cast<double>(below)) * (high - low);
}

// Of two lists in rising order one in rising order.
std::vector<Counted> merged(const std::vector<Counted>& a, const std::vector<Counted>& b) {
  std::vector<Counted> all;
  std::ranges::merge(a, b, std::back_inserter(all), {}, &Counted::value, &Counted::value);
  return all;
}

}  // namespace

void LossSample::Sum::add(double part) {
  sum += part;
  squared += part * part;
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
  maximum_ = std::max(maximum_, delta);
  if (keep_ && delta > 0) (shared ? together_ : alone_).add(delta);
}

void LossSample::close() {
  if (!open_) return;
  open_ = false;
  if (draws_) {
    add_draw(loss_units_, units_, loss_);
    add_draw(clip_units_, units_, clip_);
    ++units_;
  }
  loss_sum_.add(loss_.sum);
  clip_sum_.add(clip_.sum);
  if (!keep_ || !shared_) return;
  constexpr double kMost = std::numeric_limits<double>::max();  // a sum may be beyond
  if (loss_.sum != 0) faults_.add(std::min(loss_.sum, kMost));
  if (clip_.sum != 0) clipped_faults_.add(std::min(clip_.sum, kMost));
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
  std::vector<Counted> parts = alone_.take();
  {
    const std::vector<Counted> changing = merged(parts, together_.take());
    const auto at = [&](double q) {
      return std::min(percentile(finite_, finite_ - changing_, changing, q), maximum_);
    };
    spread.median = at(0.5);
    spread.p99 = at(0.99);
    spread.maximum = finite_ == 0 ? std::numeric_limits<double>::quiet_NaN() : maximum_;
  }
  spread.carried =
      concentration_of(loss_sum_.sum, loss_sum_.squared, merged(parts, faults_.take()));
  for (Counted& part : parts) part.value = std::min(part.value, clip);
  if (clip > 0 && cut_ > 0) parts.push_back({clip, cut_});
  spread.clipped_carried =
      concentration_of(clip_sum_.sum, clip_sum_.squared, merged(parts, clipped_faults_.take()));
  return spread;
}

}  // namespace bitfall
