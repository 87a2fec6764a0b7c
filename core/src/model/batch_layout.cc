#include "batch_layout.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iomanip>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <sstream>

#include "error.h"
#include "last_bits.h"
#include "model.h"
#include "program.h"
#include "sites.h"
#include "tensor_shape.h"
#include "torch_message.h"
#include "value_flow.h"

namespace bitfall {
namespace {

bool is_defined(const c10::IValue& value) { return value.isTensor() && value.toTensor().defined(); }

// What a row may be exchanged for.
enum class Exchange { kOther, kZeros, kThousandfold, kHuge, kNan };
constexpr std::array kUsual = {Exchange::kOther, Exchange::kZeros, Exchange::kThousandfold};
constexpr std::array kExtreme = {Exchange::kHuge, Exchange::kNan};

at::Tensor exchanged(Exchange what, const at::Tensor& other) {
  switch (what) {
    case Exchange::kOther:
      return other;
    case Exchange::kZeros:
      return at::zeros_like(other);
    case Exchange::kThousandfold:
      return other * 1e3;
    case Exchange::kHuge:
      return other.sign() * 1e30;
    case Exchange::kNan:
      return at::full_like(other, std::numeric_limits<float>::quiet_NaN());
  }
  return other;
}

// Of a batch of one: so that an image has the shape that it has in larger ones.
std::int64_t dim_of_one_image(const at::Tensor& value) {
  const auto sizes = value.sizes();
  const auto one = std::find(sizes.begin(), sizes.end(), 1);
  return one == sizes.end() ? 0 : one - sizes.begin();
}

std::vector<std::int64_t> shape_of_image(const at::Tensor& value, std::int64_t dim,
                                         std::int64_t batch) {
  std::vector<std::int64_t> shape = value.sizes().vec();
  const auto extent = shape.begin() + dim;
  *extent /= batch;
  if (*extent == 1) shape.erase(extent);
  return shape;
}

std::string place_of(const Instruction& instruction) {
  return (instruction.path.empty() ? "" : instruction.path + ": ") + instruction.function;
}

bool are_probabilities(const at::Tensor& answer) {
  if (!answer.ge(0).logical_and(answer.le(1)).all().item<bool>()) return false;
  const bool sums = answer.sum(1).sub(1).abs().max().item<float>() < 1e-3F;
  return sums || answer.numel() >= 16;  // as sigmoid gives
}

constexpr const char* kTwoRuns =
    "two runs on the same images give different answers (dropout or noise is active, or the model "
    "keeps a state); export the model after model.eval()";

// The largest difference, of the largest value; infinite where one is finite or a number and the
// other is not.
double difference(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor same = a.eq(b).logical_or(a.isnan().logical_and(b.isnan()));
  const double off = at::where(same, 0, (a - b).abs().to(at::kDouble)).max().item<double>();
  const double largest = b.abs().to(at::kDouble).nan_to_num(0, 0, 0).max().item<double>();
  if (off == 0) return 0;
  return std::isfinite(off) && largest > 0 ? off / largest
                                           : std::numeric_limits<double>::infinity();
}

class SideBySide {
 public:
  SideBySide(const Program& program, const ProofImages& images)
      : program_(program),
        images_(images),
        batch_(images.batch.size(0)),
        changed_(batch_ > 1 ? 1 : 0),
        flow_(program.instructions(), [this](int slot) -> std::optional<std::int64_t> {
          const ImageAxis& axis = layout_.slots[static_cast<std::size_t>(slot)].images;
          if (batch_ > 1 && axis.exists()) return axis.dim;
          return std::nullopt;
        }) {
    at::Tensor other = images.batch.clone();
    other.select(0, changed_).copy_(images.others[0]);
    a_ = program.start(images.batch);
    b_ = program.start(other);
    turned_ = program.start(images.batch.roll(1, 0));
    add_exchanges(kUsual);
    add_exchanges(kExtreme);
    for (const Write& write : program.instructions().writes) written_later_.insert(write.slot);
    for (const SharedMemory& one : program.instructions().shared) written_later_.insert(one.slot);
  }

  BatchLayout run() {
    layout_.slots.assign(a_.size(), {});
    SlotLayout& input = layout_.slots[static_cast<std::size_t>(program_.input_slot())];
    input.images.slabs = 1;
    input.image_independent = false;
    input.type = value_type_of(a_[static_cast<std::size_t>(program_.input_slot())].toTensor())
                     .value_or(ValueType::kFloat32);
    const auto& steps = program_.steps();
    for (int i = 0; i < static_cast<int>(steps.size()); ++i) {
      const Instruction& instruction = program_.instructions().steps[static_cast<std::size_t>(i)];
      look_at(instruction, i);
      flow_.follow(i, a_);
      note_operands(instruction);
      const torch::jit::Stack given = operands_to_try(instruction);
      for (Slots* slots : {&a_, &b_, &turned_}) program_.run(*slots, i, i + 1);
      run_exchanged(i);
      // Looked at here, as a later step may empty or change it.
      for (const int made : steps[static_cast<std::size_t>(i)].outputs) {
        judge(static_cast<std::size_t>(made), instruction);
        note_uneven_rows(steps[static_cast<std::size_t>(i)].function, made);
      }
      if (!given.empty()) try_rows(instruction, given);
    }
    judge_answer();
    return std::move(layout_);
  }

 private:
  static const void* memory_of(const c10::IValue& value) {
    const bool has =
        value.isTensor() && value.toTensor().defined() && value.toTensor().has_storage();
    return has ? value.toTensor().storage().unsafeGetStorageImpl() : nullptr;
  }

  // Before the step runs, which may be the last to read them.
  void note_operands(const Instruction& instruction) {
    operands_.clear();
    for (const int slot : instruction.in) {
      const c10::IValue& value = a_[static_cast<std::size_t>(slot)];
      operands_.insert(memory_of(value));
      if (!value.isTensorList()) continue;
      for (const at::Tensor& one : value.toTensorVector()) operands_.insert(memory_of(one));
    }
    operands_.erase(nullptr);
  }

  // Batches in which each of these stands in some row, the first row kept.
  template <std::size_t N>
  void add_exchanges(const std::array<Exchange, N>& kinds) {
    if (batch_ == 1) return;
    // In a batch of two, b_ has another image in the row beside the first.
    std::size_t next = batch_ == 2 && kinds[0] == Exchange::kOther ? 1 : 0;
    while (next < kinds.size()) {
      at::Tensor rows = images_.batch.clone();
      for (std::int64_t row = 1; row < batch_; ++row, ++next) {
        const at::Tensor other = images_.others[row % images_.others.size(0)];
        rows.select(0, row).copy_(exchanged(kinds[next % kinds.size()], other));
      }
      exchanged_.push_back(program_.start(rows));
    }
  }

  // A model may refuse such values: then it is not run on them.
  void run_exchanged(int step) {
    std::erase_if(exchanged_, [&](Slots& slots) {
      try {
        program_.run(slots, step, step + 1);
        return false;
      } catch (const std::exception&) {
        return true;
      }
    });
  }

  // What the operators say themselves.
  void look_at(const Instruction& instruction, int step) {
    for (const CompiledBranch& branch : instruction.branches) {
      for (const Instruction& inner : branch.instructions) {
        if (random_.empty() && is_random(inner, a_)) random_ = place_of(inner);
      }
    }
    const bool read = std::any_of(instruction.out.begin(), instruction.out.end(), [&](int slot) {
      return program_.lifetimes()[static_cast<std::size_t>(slot)].last > step;
    });
    if (random_.empty() && (read || instruction.in_place()) && is_random(instruction, a_)) {
      random_ = place_of(instruction);
    }
    if (branching_.empty() && flow_.branches_on_values(instruction)) {
      branching_ = place_of(instruction);
    }
  }

  void judge(std::size_t slot, const Instruction& made_by) {
    SlotLayout& layout = layout_.slots[slot];
    layout.image_independent =
        same_value(a_[slot], b_[slot]) && same_value(a_[slot], turned_[slot]);
    if (!is_defined(a_[slot]) || !is_defined(b_[slot]) || !is_defined(turned_[slot])) {
      layout.refusal = "nothing in the network reads it";
      return;
    }
    const at::Tensor &a = a_[slot].toTensor(), &b = b_[slot].toTensor();
    const at::Tensor& turned = turned_[slot].toTensor();
    const auto type = value_type_of(a);
    if (!type) {
      layout.refusal = type_refusal(c10::toString(a.scalar_type()));
      return;
    }
    layout.type = *type;
    if (written_later_.count(static_cast<int>(slot)) > 0 &&
        operands_.count(memory_of(a_[slot])) > 0) {
      layout.refusal = "it lies in the memory of another value, which a later step writes to";
      return;
    }
    if (flow_.of(static_cast<int>(slot)).size || a.sizes() != b.sizes() ||
        a.sizes() != turned.sizes() || a.scalar_type() != b.scalar_type() ||
        a.scalar_type() != turned.scalar_type()) {
      layout.refusal = "its size depends on the images' values";
      if (sized_.empty()) sized_ = place_of(made_by);
      return;
    }
    layout.refusal = "its output [" + shape_text(a.sizes()) +
                     "] is not one slab per image of a batch of " + std::to_string(batch_);
    if (a.numel() == 0) return;
    const at::Tensor differs = bits_of(a).ne(bits_of(b));
    if (!differs.any().item<bool>()) {
      layout.refusal = "its values do not depend on the image";
      return;
    }
    // Along the first dimension where it does, or else the reason of the one that looks most like
    // it.
    const std::int64_t first = batch_ > 1 ? 0 : dim_of_one_image(a);
    const std::int64_t last = batch_ > 1 ? a.dim() : std::min(first + 1, a.dim());
    bool local = false;
    for (std::int64_t dim = first; dim < last; ++dim) {
      if (a.size(dim) % batch_ != 0) continue;
      if (layout.values == 0) layout.shape = shape_of_image(a, dim, batch_);
      layout.values = a.numel() / batch_;
      const ImageAxis axis = axis_of_change(differs, dim);
      if (!axis.exists()) {
        if (!local) {
          layout.refusal = "changing one image changes other images' values (not batch-major)";
        }
        continue;
      }
      const std::string refusal = refusal_of_batches(slot, axis);
      if (refusal.empty()) {
        accept(layout, a, turned, axis);
        return;
      }
      if (!local) layout.refusal = refusal;
      local = true;
    }
  }

  // How the dimension holds the images if only one of them is seen to differ; it need not do so in
  // each of its entries. Images that follow one another as a whole come first, then those whose
  // entries alternate.
  ImageAxis axis_of_change(const at::Tensor& differs, std::int64_t dim) const {
    const at::Tensor entries =
        differs.movedim(dim, 0).reshape({differs.size(dim), -1}).any(1).cpu();
    const auto seen = entries.accessor<bool, 1>();
    const std::int64_t parts = differs.size(dim) / batch_;  // of an image
    const auto fits = [&](std::int64_t slabs) {
      for (std::int64_t i = 0; i < seen.size(0); ++i) {
        if (seen[i] && i / slabs % batch_ != changed_) return false;
      }
      return true;
    };
    if (fits(parts)) return {parts, 1, dim};
    for (std::int64_t slabs = 1; slabs < parts; ++slabs) {
      if (parts % slabs == 0 && fits(slabs)) return {slabs, parts / slabs, dim};
    }
    return {};
  }

  void accept(SlotLayout& layout, const at::Tensor& a, const at::Tensor& turned,
              const ImageAxis& axis) {
    layout.refusal.clear();
    layout.images = axis;
    layout.shape = shape_of_image(a, axis.dim, batch_);
    layout_.rows_alike = layout_.rows_alike && same_images(turned, a, axis);
  }

  void note_uneven_rows(const std::string& function, int slot) {
    const c10::IValue& value = a_[static_cast<std::size_t>(slot)];
    const bool by_image = layout_.slots[static_cast<std::size_t>(slot)].images.exists();
    if (batch_ == 1 || !by_image || !is_defined(value)) return;
    const at::Tensor& result = value.toTensor();
    if (!result.is_cpu() || !result.is_floating_point()) return;
    if (varies_by_place(function, result.numel())) layout_.rows_alike = false;
  }

  // Of an operator whose rows may not be alike, though those of the images are: as they lie before
  // it runs.
  torch::jit::Stack operands_to_try(const Instruction& instruction) {
    if (instruction.function == "prim::ListConstruct" && instruction.out.size() == 1) {
      lists_[instruction.out[0]] = instruction.in;
    }
    // What is no operator may write to the module's state.
    if (batch_ == 1 || !layout_.rows_alike || instruction.schema == nullptr ||
        instruction.in_place() || instruction.names > 0 || instruction.tags.random) {
      return {};
    }
    torch::jit::Stack given;
    for (const int slot : instruction.in) given.push_back(a_[static_cast<std::size_t>(slot)]);
    return given;
  }

  // The campaign's images may be all but zero behind an activation, and a few sums of few numbers
  // show no other order of summation. So each row gets the same image of noise.
  void try_rows(const Instruction& instruction, torch::jit::Stack given) {
    if (!layout_.rows_alike) return;
    const c10::InferenceMode guard;
    constexpr std::int64_t kMany = 1 << 18;  // values of images that are not all but zero tell, too
    const bool many = std::all_of(instruction.out.begin(), instruction.out.end(), [&](int slot) {
      const c10::IValue& made = a_[static_cast<std::size_t>(slot)];
      return is_defined(made) && made.toTensor().numel() > kMany;
    });
    // f: of a value that lies image by image what is given in its place.
    const auto for_each_value = [&](const auto& f) {
      const auto of = [&](int slot, const at::Tensor& value) {
        const ImageAxis& axis = layout_.slots[static_cast<std::size_t>(slot)].images;
        const bool real = value.defined() && value.is_floating_point();
        return axis.exists() && real ? f(value, axis) : value;
      };
      for (std::size_t i = 0; i < given.size(); ++i) {
        const auto list = lists_.find(instruction.in[i]);
        if (given[i].isTensor()) {
          given[i] = of(instruction.in[i], given[i].toTensor());
        } else if (given[i].isTensorList() && list != lists_.end()) {
          std::vector<at::Tensor> values = given[i].toTensorVector();
          for (std::size_t k = 0; k < values.size(); ++k)
            values[k] = of(list->second[k], values[k]);
          given[i] = values;
        }
      }
    };
    bool any = false, sparse = false;
    for_each_value([&](const at::Tensor& value, const ImageAxis&) {
      constexpr std::int64_t kFew = 8;  // one in so many is not 0
      any = true;
      sparse =
          sparse || (many && value.count_nonzero().item<std::int64_t>() * kFew < value.numel());
      return value;
    });
    if (!any || (many && !sparse)) return;
    for_each_value(
        [&](const at::Tensor& value, const ImageAxis& axis) { return rows_of_noise(value, axis); });
    try {
      instruction.run(given);
    } catch (const std::exception& error) {
      if (out_of_memory(error)) throw;
      return;  // it takes no such values
    }
    for (std::size_t i = 0; i < instruction.out.size() && i < given.size(); ++i) {
      const ImageAxis& axis = layout_.slots[static_cast<std::size_t>(instruction.out[i])].images;
      if (!axis.exists() || !is_defined(given[i])) continue;
      const at::Tensor rows = bits_of(by_image(given[i].toTensor(), axis));
      if (!rows.eq(rows.narrow(0, 0, 1)).all().item<bool>()) layout_.rows_alike = false;
    }
  }

  // Laid out as the value is.
  at::Tensor rows_of_noise(const at::Tensor& value, const ImageAxis& axis) {
    at::Tensor noise = at::empty_like(value);
    at::Tensor rows = by_image(noise, axis);
    const at::Tensor one = at::randn(rows.sizes().slice(1), random_numbers_, at::kFloat);
    rows.copy_(one.unsqueeze(0).expand_as(rows));
    return noise;
  }

  // The images of a batch, and of the batch turned by one row.
  bool same_images(const at::Tensor& turned, const at::Tensor& a, const ImageAxis& axis) const {
    return bits_of(by_image(turned, axis)).roll(-1, 0).equal(bits_of(by_image(a, axis)));
  }

  // Why a value that looks as if it lay image by image does not.
  std::string refusal_of_batches(std::size_t slot, const ImageAxis& axis) const {
    if (batch_ == 1) return "";
    const ValueMarks& marks = flow_.of(static_cast<int>(slot));
    if (marks.rows) {
      return "the images' values decide which image lies in which row; set [run] batch = 1";
    }
    if (marks.mixed) {
      return "it depends on all images of the batch (" + flow_.first_mixed() +
             " over them); set [run] batch = 1";
    }
    const at::Tensor& a = a_[slot].toTensor();
    for (const Slots& slots : exchanged_) {
      const c10::IValue& value = slots[slot];
      if (!is_defined(value) || value.toTensor().sizes() != a.sizes()) {
        return "its size depends on the images' values";
      }
      const at::Tensor other = value.toTensor();
      if (!bits_of(image_of(other, axis, 0)).equal(bits_of(image_of(a, axis, 0)))) {
        return "its values for one image depend on the other images of the batch; set [run] batch "
               "= 1";
      }
    }
    return "";
  }

  void judge_answer() {
    const at::Tensor logits = program_.output(a_);
    layout_.classes = logits.size(1);
    layout_.probabilities = are_probabilities(logits);
    layout_.unfit = misfit(logits);
  }

  std::string misfit(const at::Tensor& logits) const {
    if (!random_.empty()) {
      return "it draws random numbers (" + random_ +
             "), so that two runs on one image differ; export the model after model.eval()";
    }
    // Images beside which others were exchanged have had several runs already.
    const std::string of_batches = batch_ > 1 ? misfit_of_batches(logits) : "";
    if ((batch_ == 1 || !of_batches.empty()) && !same_again(logits)) {
      return kTwoRuns;
    }
    if (program_.keeps_state() && !same_each_time(logits)) {
      return "it keeps a state in its attributes, so that its answer depends on what it was asked "
             "before; export one that does not";
    }
    return of_batches.empty() ? misfit_of_reading(logits) : of_batches;
  }

  // LibTorch's freezing changes what some networks compute.
  std::string misfit_of_reading(const at::Tensor& logits) const {
    if (!program_.forward_runs_otherwise()) return "";
    const std::string advice = "; export it as an archive of torch.export (.pt2)";
    double off = 0;
    try {
      off = difference(program_.forward(images_.batch), logits);
    } catch (const std::exception& error) {
      if (out_of_memory(error)) throw;
      return "TorchScript itself cannot run it (" + torch_message(error) +
             "), though LibTorch's freezing has made steps of it that run" + advice;
    }
    constexpr double kMost = 1e-3;  // of the largest; mostly they are the same to the bit
    if (off <= kMost) return "";
    if (!same_again(logits)) return kTwoRuns;
    std::ostringstream text;
    text << "LibTorch's freezing changes what it computes: its answers are off by "
         << std::setprecision(2) << 100 * off << " % of the largest";
    return text.str() + advice;
  }

  bool same_again(const at::Tensor& logits) const {
    Slots again = program_.start(images_.batch);
    program_.run(again, 0, static_cast<int>(program_.steps().size()));
    return same_bits(logits, program_.output(again));
  }

  bool same_each_time(const at::Tensor& logits) const {
    for (int round = 0; round < 2; ++round) {
      if (!same_bits(logits, program_.forward(images_.batch))) return false;
    }
    return true;
  }

  std::string misfit_of_batches(const at::Tensor& logits) const {
    const std::string depends = "the answer for one image depends on the other images of its batch";
    at::Tensor differs = bits_of(logits).ne(bits_of(program_.output(b_))).any(1);
    differs[changed_] = false;
    if (differs.any().item<bool>()) {
      if (!sized_.empty()) {  // products of other sizes have other last bits
        return depends + " (they decide the size of " + sized_ + "); set [run] batch = 1";
      }
      return depends +
             " (batch normalisation in training mode, a mean over the batch, or a scale of dynamic "
             "quantisation); export the model after model.eval(), or set [run] batch = 1";
    }
    for (const Slots& slots : exchanged_) {
      const at::Tensor others = program_.output(slots);
      if (!same_bits(others.narrow(0, 0, 1), logits.narrow(0, 0, 1))) {
        return depends + (flow_.first_mixed().empty() ? "" : " (" + flow_.first_mixed() + ")") +
               "; set [run] batch = 1";
      }
    }
    const int answer = program_.instructions().output;
    if (flow_.of(answer).mixed) {
      return depends + " (" + flow_.first_mixed() + " over them); set [run] batch = 1";
    }
    if (flow_.of(answer).grouped) {  // products of other sizes have other last bits
      return depends + " (they decide the size of " + sized_ + "); set [run] batch = 1";
    }
    if (flow_.of(answer).rows || flow_.of(answer).size) {
      return "the images' values decide which image's answer lies in which row; set [run] batch = "
             "1";
    }
    if (!branching_.empty()) {
      return "it branches or loops on values, so one image of a batch decides for the others; set "
             "[run] batch = 1";
    }
    return "";
  }

  const Program& program_;
  const ProofImages& images_;
  const std::int64_t batch_;
  const std::int64_t changed_;      // the row of b with another image
  std::set<int> written_later_;     // slots whose memory a later step may write to
  std::set<const void*> operands_;  // memory of the operands of the step that runs
  Slots a_, b_, turned_;
  std::vector<Slots> exchanged_;
  ValueFlow flow_;
  std::map<int, std::vector<int>> lists_;  // what a list is made of, by its slot
  at::Generator random_numbers_ = at::make_generator<at::CPUGeneratorImpl>(0);
  std::string random_, branching_, sized_;  // where it was seen first
  BatchLayout layout_;
};

}  // namespace

BatchLayout find_batch_layout(const Program& program, const ProofImages& images) {
  return SideBySide(program, images).run();
}

}  // namespace bitfall
