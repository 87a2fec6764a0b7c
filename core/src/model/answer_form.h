// A network's answer in the forms that people export: a tensor, or one among several in a tuple, list or dictionary.
//
//   (features [N, 8], logits [N, 5])           "0", "1"
//   {"logits": [N, 5], "hidden": [N, 9, 8]}    "logits", "hidden"
//   [N, 5, 1, 1]                               as [N, 5];  [5] of one image as [1, 5]
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>

#include <cstdint>
#include <string>
#include <vector>

#include "answer_choice.h"

namespace bitfall {

/// A tensor among the results.
struct NamedAnswer {
  std::string name;  // "" where forward returns one tensor
  at::Tensor value;
};

/// All tensors that a result holds, in order.
std::vector<NamedAnswer> tensors_of(const c10::IValue& result);

/// The name of the answer among a result's tensors. Throws Error(kInput), which lists them, where
/// none or several can be it.
std::string choose_answer(const c10::IValue& result, std::int64_t batch,
                          const AnswerChoice& choice);

/// The answer as [batch, classes] float32 on the CPU. As choose_answer() where `choice` leaves it
/// open.
at::Tensor answer_of(const c10::IValue& result, std::int64_t batch, const AnswerChoice& choice);

}  // namespace bitfall
