#include "batch_layout.h"

#include <ATen/ATen.h>

#include "error.h"
#include "program.h"

namespace bitfall {
namespace {

at::Tensor bits_of(const at::Tensor& tensor) { return tensor.contiguous().view(at::kInt); }

bool is_defined(const c10::IValue& value) { return value.isTensor() && value.toTensor().defined(); }

class ThreeBatches {
 public:
  ThreeBatches(const Program& program, const at::Tensor& images, at::Generator& random)
      : program_(program), images_(images), batch_(images.size(0)), changed_(batch_ > 1 ? 1 : 0) {
    at::Tensor other = images.clone();
    other.select(0, changed_).copy_(at::randn(images.sizes().slice(1), random, at::kFloat));
    a_ = program.start(images);
    b_ = program.start(other);
    turned_ = program.start(images.roll(1, 0));
  }

  BatchLayout run() {
    layout_.slots.assign(a_.size(), {});
    SlotLayout& input = layout_.slots[static_cast<std::size_t>(program_.input_slot())];
    input.slabs = 1;
    input.image_independent = false;
    const auto& steps = program_.steps();
    for (int i = 0; i < static_cast<int>(steps.size()); ++i) {
      for (Slots* slots : {&a_, &b_, &turned_}) program_.run(*slots, i, i + 1);
      // Looked at here, as a later step may empty or change it.
      for (const int made : steps[static_cast<std::size_t>(i)].outputs) {
        judge(static_cast<std::size_t>(made));
      }
    }
    judge_answer();
    return std::move(layout_);
  }

 private:
  void judge(std::size_t slot) {
    SlotLayout& layout = layout_.slots[slot];
    layout.image_independent =
        same_value(a_[slot], b_[slot]) && same_value(a_[slot], turned_[slot]);
    if (!is_defined(a_[slot]) || !is_defined(b_[slot]) || !is_defined(turned_[slot])) {
      layout.refusal = "nothing in the network reads it";
      return;
    }
    const at::Tensor &a = a_[slot].toTensor(), &b = b_[slot].toTensor();
    const at::Tensor& turned = turned_[slot].toTensor();
    if (a.scalar_type() != at::kFloat || a.layout() != at::kStrided || a.is_quantized()) {
      layout.refusal = std::string("holds ") + c10::toString(a.scalar_type()) + ", not float32";
      return;
    }
    const bool fits = a.dim() > 0 && a.size(0) % batch_ == 0 && a.numel() > 0 &&
                      a.sizes() == b.sizes() && a.sizes() == turned.sizes();
    if (!fits) {
      layout.refusal = "its output [" + shape_text(a.sizes()) +
                       "] is not one slab per image of a batch of " + std::to_string(batch_);
      return;
    }
    const std::int64_t slabs = a.size(0) / batch_;
    layout.shape = a.sizes().slice(1).vec();
    if (slabs > 1) layout.shape.insert(layout.shape.begin(), slabs);
    layout.values = a.numel() / batch_;
    at::Tensor differs = bits_of(a).ne(bits_of(b)).reshape({batch_, -1}).any(1).cpu();
    const bool depends = differs[changed_].item<bool>();
    differs[changed_] = false;
    if (differs.any().item<bool>()) {
      layout.refusal = "changing one image changes other images' values (not batch-major)";
    } else if (!depends) {
      layout.refusal = "its values do not depend on the image";
    } else {
      layout.slabs = slabs;
      layout_.rows_alike =
          layout_.rows_alike && bits_of(turned.roll(-slabs, 0)).equal(bits_of(a));
    }
  }

  void judge_answer() {
    const at::Tensor logits = program_.output(a_);
    if (logits.dim() != 2 || logits.size(0) != batch_) {
      throw Error(ExitCode::kInput, "the model's answer has shape [" + shape_text(logits.sizes()) +
                                        "]; a classifier gives [" + std::to_string(batch_) +
                                        " x classes]");
    }
    layout_.classes = logits.size(1);
    layout_.unfit = misfit(logits);
  }

  std::string misfit(const at::Tensor& logits) const {
    Slots again = program_.start(images_);
    program_.run(again, 0, static_cast<int>(program_.steps().size()));
    if (!same_bits(logits, program_.output(again))) {
      return "two runs on the same images give different answers (dropout or noise is active, or "
             "the model keeps a state)";
    }
    at::Tensor differs = bits_of(logits).ne(bits_of(program_.output(b_))).any(1);
    differs[changed_] = false;
    if (differs.any().item<bool>()) {
      return "the answer for one image depends on the other images of its batch (batch "
             "normalisation in training mode, or a mean over the batch)";
    }
    if (batch_ > 1 && program_.branches_on_values()) {
      return "it branches or loops on values, so one image of a batch decides for the others; set "
             "[run] batch = 1";
    }
    return "";
  }

  const Program& program_;
  const at::Tensor images_;
  const std::int64_t batch_;
  const std::int64_t changed_;  // the row of b with another image
  Slots a_, b_, turned_;
  BatchLayout layout_;
};

}  // namespace

std::string shape_text(at::IntArrayRef shape) {
  std::string text;
  for (const auto extent : shape) text += (text.empty() ? "" : "x") + std::to_string(extent);
  return text.empty() ? "scalar" : text;
}

BatchLayout find_batch_layout(const Program& program, const at::Tensor& images,
                              at::Generator& random) {
  return ThreeBatches(program, images, random).run();
}

}  // namespace bitfall
