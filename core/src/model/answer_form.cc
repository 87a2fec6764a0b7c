#include "answer_form.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "error.h"
#include "tensor_shape.h"

namespace bitfall {
namespace {

void collect(const c10::IValue& value, const std::string& name, std::vector<NamedAnswer>& found) {
  const auto inner = [&](const std::string& key) { return name.empty() ? key : name + "." + key; };
  if (value.isTensor()) {
    if (value.toTensor().defined()) found.push_back({name, value.toTensor()});
  } else if (value.isTuple()) {
    const auto tuple = value.toTuple();
    for (std::size_t i = 0; i < tuple->elements().size(); ++i) {
      collect(tuple->elements()[i], inner(std::to_string(i)), found);
    }
  } else if (value.isList()) {
    const auto list = value.toListRef();
    for (std::size_t i = 0; i < list.size(); ++i) {
      collect(list[i], inner(std::to_string(i)), found);
    }
  } else if (value.isGenericDict()) {
    for (const auto& entry : value.toGenericDict()) {
      collect(entry.value(), inner(entry.key().isString() ? entry.key().toStringRef() : "?"),
              found);
    }
  }
}

// [batch, classes], a view; undefined where the tensor cannot be an answer.
at::Tensor as_logits(const at::Tensor& value, std::int64_t batch) {
  if (!value.is_floating_point() || value.layout() != at::kStrided) return {};
  at::Tensor logits = value;
  while (logits.dim() > 2 && logits.size(-1) == 1) logits = logits.squeeze(-1);
  if (logits.dim() == 1 && batch == 1) logits = logits.unsqueeze(0);
  return logits.dim() == 2 && logits.size(0) == batch ? logits : at::Tensor();
}

std::string list_of(const std::vector<NamedAnswer>& answers) {
  std::string text;
  for (const NamedAnswer& one : answers) {
    text += (text.empty() ? "" : ", ") + (one.name.empty() ? "" : "\"" + one.name + "\" ") + "[" +
            shape_text(one.value.sizes()) + "]";
  }
  return text.empty() ? "no tensor" : text;
}

Error refusal(const std::string& problem) { return {ExitCode::kInput, problem}; }

std::string one_logit(const std::string& shape) {
  return "the model's answer has shape [" + shape +
         "], one number per image; export a network that answers [0, z], two classes";
}

const NamedAnswer& named(const std::vector<NamedAnswer>& all, const std::string& name) {
  const auto it = std::find_if(all.begin(), all.end(),
                               [&](const NamedAnswer& one) { return one.name == name; });
  if (it != all.end()) return *it;
  throw refusal("[model] output = \"" + name + "\" is not among the model's results: " +
                list_of(all));
}

}  // namespace

std::vector<NamedAnswer> tensors_of(const c10::IValue& result) {
  std::vector<NamedAnswer> found;
  collect(result, "", found);
  return found;
}

std::string choose_answer(const c10::IValue& result, std::int64_t batch,
                          const AnswerChoice& choice) {
  const std::vector<NamedAnswer> all = tensors_of(result);
  if (!choice.output.empty()) return named(all, choice.output).name;
  std::vector<NamedAnswer> fit;
  for (const NamedAnswer& one : all) {
    const at::Tensor logits = as_logits(one.value, batch);
    if (!logits.defined()) continue;
    if (logits.size(1) < 2 && all.size() > 1) continue;
    fit.push_back(one);
  }
  if (all.size() == 1) return all[0].name;
  if (fit.size() > 1) {  // what the labels allow
    const auto wrong = [&](const NamedAnswer& one) {
      const std::int64_t width = as_logits(one.value, batch).size(1);
      return (choice.classes > 0 && width != choice.classes) || width < choice.labels;
    };
    std::vector<NamedAnswer> left = fit;
    std::erase_if(left, wrong);
    const auto logits = std::find_if(left.begin(), left.end(), [](const NamedAnswer& one) {
      return one.name == "logits" || one.name.ends_with(".logits");
    });
    if (logits != left.end()) return logits->name;
    if (left.size() == 1 || (choice.any && !left.empty())) return left[0].name;
  }
  if (fit.size() == 1) return fit[0].name;
  if (fit.empty()) {
    throw refusal("the model returns " + list_of(all) + "; a classifier returns logits [" +
                  std::to_string(batch) + " x classes]");
  }
  throw refusal("the model returns several tensors that can be its answer: " + list_of(fit) +
                "\n  choose one by its name or number: [model] output = \"" + fit.back().name +
                "\"");
}

at::Tensor answer_of(const c10::IValue& result, std::int64_t batch, const AnswerChoice& choice) {
  at::Tensor value;
  if (result.isTensor() && choice.output.empty()) {
    value = result.toTensor();
  } else {
    value = named(tensors_of(result), choose_answer(result, batch, choice)).value;
  }
  const at::Tensor logits = as_logits(value, batch);
  const std::string shape = shape_text(value.sizes());
  if (!logits.defined()) {
    if (value.dim() == 1 && batch > 1 && value.size(0) == batch) throw refusal(one_logit(shape));
    throw refusal("the model's answer has shape [" + shape + "]; a classifier gives [" +
                  std::to_string(batch) + " x classes]");
  }
  if (logits.size(1) < 2) throw refusal(one_logit(shape));
  return logits.to(at::kCPU, at::kFloat).contiguous();
}

}  // namespace bitfall
