#include "value_flow.h"

#include <algorithm>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "last_bits.h"

namespace bitfall {
namespace {

using Names = std::unordered_set<std::string_view>;

// "index_put" of "aten::index_put_".
std::string_view bare_name(const Instruction& instruction) {
  std::string_view name = instruction.function;
  if (const auto colons = name.find("::"); colons != name.npos) name.remove_prefix(colons + 2);
  if (name.size() > 1 && name.back() == '_' && name[name.size() - 2] != '_') name.remove_suffix(1);
  return name;
}

// Numbers of a tensor, or of a list of tensors, that its numbers do not decide.
bool reads_shape_only(const Instruction& instruction) {
  static const Names kNames = {"size",
                               "dim",
                               "len",
                               "numel",
                               "dtype",
                               "device",
                               "stride",
                               "is_floating_point",
                               "is_complex",
                               "is_cuda",
                               "sym_size",
                               "sym_numel",
                               "sym_stride",
                               "sym_storage_offset",
                               "layout",
                               "is_sparse",
                               "is_quantized",
                               "is_nested",
                               "is_mkldnn",
                               "is_cpu",
                               "is_meta",
                               "is_mps",
                               "is_xla",
                               "is_xpu",
                               "is_vulkan",
                               "is_ort",
                               "is_maia",
                               "is_ipu",
                               "is_hpu",
                               "is_mtia",
                               "is_signed",
                               "is_inference",
                               "is_leaf",
                               "is_sparse_csr",
                               "shape",
                               "ndim",
                               "__is__",
                               "__isnot__",
                               "isinstance",
                               "requires_grad",
                               "is_contiguous",
                               "element_size",
                               "itemsize",
                               "nbytes",
                               "storage_offset",
                               "result_type",
                               "can_cast",
                               "type",
                               "get_device",
                               "names",
                               "name",
                               "is_set_to",
                               "is_same_size",
                               "is_pinned",
                               "_is_zerotensor",
                               "is_conj",
                               "is_neg",
                               "output_nr",
                               "_version",
                               "autocast_to_reduced_precision",
                               "is_non_overlapping_and_dense",
                               "__contains__",
                               "keys"};
  return kNames.count(bare_name(instruction)) > 0;
}

// The result has the sizes of the first operand, whatever is put into it.
bool keeps_first_sizes(const Instruction& instruction) {
  static const Names kNames = {"index_put",
                               "_index_put_impl",
                               "scatter",
                               "scatter_add",
                               "scatter_reduce",
                               "index_add",
                               "index_copy",
                               "index_fill",
                               "index_reduce",
                               "masked_fill",
                               "masked_scatter",
                               "copy",
                               "fill",
                               "zero",
                               "select_scatter",
                               "slice_scatter",
                               "put"};
  const bool in_place = instruction.in_place() && instruction.one_tensor();
  return in_place || kNames.count(bare_name(instruction)) > 0;
}

// Integer operands of these say where, not how many.
bool has_no_size_operand(const Instruction& instruction) {
  static const Names kNames = {"select",
                               "roll",
                               "softmax",
                               "log_softmax",
                               "clamp",
                               "pow",
                               "flip",
                               "bitwise_left_shift",
                               "bitwise_right_shift",
                               "Int",
                               "tensor",
                               "scalar_tensor",
                               "fill",
                               "clamp_min",
                               "clamp_max"};
  return kNames.count(bare_name(instruction)) > 0;
}

bool is_integer_type(const c10::TypePtr& type) {
  c10::TypePtr inner = type;
  if (const auto optional = inner->cast<c10::OptionalType>()) inner = optional->getElementType();
  if (const auto list = inner->cast<c10::ListType>()) inner = list->getElementType();
  return inner->kind() == c10::TypeKind::IntType || inner->kind() == c10::TypeKind::SymIntType;
}

bool is_mask(const c10::IValue& value) {
  if (!value.isTensor() || !value.toTensor().defined()) return false;
  const auto type = value.toTensor().scalar_type();
  return type == at::kBool || type == at::kByte;
}

bool is_row_index(const c10::IValue& value) {
  return value.isTensor() && value.toTensor().defined();
}

// Whether a dimension of the tensor is among those that the operand names; all are without one.
bool names_dimension(const c10::IValue* dims, const c10::IValue& tensor, std::int64_t wanted) {
  if (dims == nullptr || dims->isNone()) return true;
  const std::int64_t count =
      tensor.isTensor() && tensor.toTensor().defined() ? tensor.toTensor().dim() : 0;
  const auto is_it = [&](std::int64_t dim) {
    return dim == wanted || (count > 0 && dim + count == wanted);
  };
  if (dims->isInt()) return is_it(dims->toInt());
  if (!dims->isIntList()) return true;
  const auto list = dims->toIntVector();
  return list.empty() || std::any_of(list.begin(), list.end(), is_it);
}

bool is_index(const Instruction& instruction, std::size_t operand) {
  const auto& arguments = instruction.schema->arguments();
  if (operand >= arguments.size()) return false;
  const std::string& name = arguments[operand].name();
  return name == "index" || name == "indices";
}

// The slot of what is moved: what is put somewhere, or else what is taken from.
int moved_operand(const Instruction& instruction) {
  const auto& arguments = instruction.schema->arguments();
  for (std::size_t i = 1; i < arguments.size() && i < instruction.in.size(); ++i) {
    const std::string& name = arguments[i].name();
    if (name == "values" || name == "src" || name == "source") return instruction.in[i];
  }
  return instruction.in[0];
}

bool is_true(const c10::IValue* value) { return value && value->isBool() && value->toBool(); }

// What an operand's number of rows may change the last bits of.
bool computes_in_groups(const Instruction& instruction) {
  static const Names kProducts = {"linear",
                                  "addmm",
                                  "mm",
                                  "bmm",
                                  "baddbmm",
                                  "addbmm",
                                  "matmul",
                                  "einsum",
                                  "mv",
                                  "addmv",
                                  "bilinear",
                                  "tensordot",
                                  "conv1d",
                                  "conv2d",
                                  "conv3d",
                                  "convolution",
                                  "_convolution",
                                  "inner",
                                  "linalg_multi_dot",
                                  "chain_matmul",
                                  "scaled_dot_product_attention",
                                  "_transformer_encoder_layer_fwd",
                                  "_native_multi_head_attention"};
  constexpr std::int64_t kNoVector = 1;
  return kProducts.count(bare_name(instruction)) > 0 ||
         varies_by_place(instruction.function, kNoVector);
}

}  // namespace

ValueMarks& ValueMarks::operator|=(const ValueMarks& other) {
  content |= other.content;
  size |= other.size;
  rows |= other.rows;
  mixed |= other.mixed;
  grouped |= other.grouped;
  return *this;
}

ValueFlow::ValueFlow(const Instructions& program, ImageDimension images)
    : program_(program), images_(std::move(images)), marks_(program.fixed.size()) {
  at(program.input).content = true;
}

ValueMarks ValueFlow::of_operands(const Instruction& instruction) const {
  ValueMarks marks;
  for (const int slot : instruction.in) marks |= of(slot);
  return marks;
}

void ValueFlow::follow(int i, const Slots& slots) {
  const Instruction& instruction = program_.steps[static_cast<std::size_t>(i)];
  follow(instruction, slots, true);
  ValueMarks written = of_operands(instruction);
  for (const int slot : instruction.out) written |= of(slot);
  if (keeps_first_sizes(instruction) && !instruction.out.empty()) {
    const ValueMarks& result = of(instruction.out[0]);
    written.size = result.size;
    written.rows = result.rows;
  }
  for (const Write& write : program_.writes) {
    if (write.step == i) at(write.slot) |= written;
  }
  for (std::size_t k = 0; k < instruction.names; ++k) {  // what was written to, by further names
    ValueMarks& name = at(instruction.out[instruction.out.size() - 1 - k]);
    name = of(instruction.in[instruction.in.size() - 1 - k]);
    name |= written;
  }
}

void ValueFlow::follow(const Instruction& instruction, const Slots& slots, bool runs) {
  if (instruction.kind == Instruction::Kind::kCall) return follow_call(instruction, slots, runs);
  follow_branches(instruction, slots);
}

// Conditionals and loops. What lies within is not in the table, so it is taken at its worst.
void ValueFlow::follow_branches(const Instruction& instruction, const Slots& slots) {
  ValueMarks decided;  // by what is chosen here
  decided.content = of(instruction.in[0]).content ||
                    (instruction.kind == Instruction::Kind::kLoop && of(instruction.in[1]).content);
  const bool loop = instruction.kind == Instruction::Kind::kLoop;
  const std::size_t carried = loop ? 1 : 0;  // the first output of a body is its condition
  for (int round = 0; round < (loop ? 2 : 1); ++round) {
    for (const CompiledBranch& branch : instruction.branches) {
      if (loop) {
        at(branch.inputs[0]).content |= decided.content;
        for (std::size_t j = 1; j < branch.inputs.size(); ++j) {
          at(branch.inputs[j]) |= of(instruction.in[j + 1]);
          at(branch.inputs[j]) |= of(branch.outputs[j]);
        }
      }
      for (const Instruction& inner : branch.instructions) follow(inner, slots, false);
      if (loop) decided.content |= of(branch.outputs[0]).content;
      if (branch.raises) continue;
      for (std::size_t j = 0; j < instruction.out.size(); ++j) {
        at(instruction.out[j]) |= of(branch.outputs[j + carried]);
        at(instruction.out[j]) |= decided;
      }
    }
  }
  for (std::size_t j = 0; loop && j < instruction.out.size(); ++j) {
    at(instruction.out[j]) |= of(instruction.in[j + 2]);
  }
}

void ValueFlow::follow_call(const Instruction& instruction, const Slots& slots, bool runs) {
  const ValueMarks operands = of_operands(instruction);
  ValueMarks tensor = operands;
  tensor.size |= size_is_decided(instruction, slots, runs);
  if (keeps_first_sizes(instruction) && !instruction.in.empty()) {
    tensor.size = of(instruction.in[0]).size;
  }
  tensor.grouped |= operands.size && computes_in_groups(instruction);
  if (rows_are_moved(instruction, slots)) {
    // Which rows of the batch are first decides where each goes, and no number in it.
    tensor.rows = !operands.rows;
    tensor.mixed = false;
    for (std::size_t i = 0; i < instruction.in.size(); ++i) {
      if (!is_index(instruction, i)) tensor.mixed |= of(instruction.in[i]).mixed;
    }
  }
  if (mixes_images(instruction, slots)) {
    tensor.mixed = true;
    if (first_mixed_.empty()) {
      first_mixed_ =
          (instruction.path.empty() ? "" : instruction.path + ": ") + instruction.function;
    }
  }
  ValueMarks number;
  number.mixed = tensor.mixed;
  number.grouped = tensor.grouped;
  number.content =
      reads_shape_only(instruction) ? operands.size : operands.content || operands.size;
  if (reads_shape_only(instruction)) {  // numbers beside the tensor, such as which size
    number.mixed = false;
    for (const int slot : instruction.in) {
      const c10::IValue& value = slots[static_cast<std::size_t>(slot)];
      number.content |= (value.isInt() || value.isBool() || value.isDouble()) && of(slot).content;
    }
  }
  for (std::size_t j = 0; j < instruction.out.size(); ++j) {
    at(instruction.out[j]) |= instruction.types[j] == ResultType::kNumber ? number : tensor;
  }
}

// The sizes of the results depend on values: by the operator's own nature, or by a computed number.
bool ValueFlow::size_is_decided(const Instruction& instruction, const Slots& slots,
                                bool runs) const {
  if (!of_operands(instruction).content) return false;
  const std::string_view name = bare_name(instruction);
  if (instruction.tags.dynamic_size) {
    if (name == "repeat_interleave") {
      const c10::IValue* size = instruction.argument("output_size", slots);
      if (size == nullptr || size->isNone()) return true;
    } else if (name == "index") {
      if (!runs) return true;
      const c10::IValue* indices = instruction.argument("indices", slots);
      if (indices == nullptr || !indices->isList()) return true;
      const auto list = indices->toListRef();
      if (std::any_of(list.begin(), list.end(), is_mask)) return true;
    } else if (name == "one_hot") {
      const c10::IValue* classes = instruction.argument("num_classes", slots);
      if (classes == nullptr || !classes->isInt() || classes->toInt() < 0) return true;
    } else if (name != "nonzero_static") {
      return true;
    }
  }
  // What the operators' tags leave out.
  static const Names kBySize = {"arange",
                                "range",
                                "tensor_split",
                                "nonzero_numpy",
                                "argwhere",
                                "to_sparse",
                                "_to_sparse",
                                "coalesce",
                                "_coalesce",
                                "to_sparse_csr",
                                "nms",
                                "_pack_padded_sequence",
                                "_pad_packed_sequence"};
  if (kBySize.count(name) > 0 || (name == "where" && instruction.in.size() == 1)) return true;
  if (instruction.schema == nullptr || has_no_size_operand(instruction)) return false;
  const auto& arguments = instruction.schema->arguments();
  for (std::size_t i = 0; i < arguments.size() && i < instruction.in.size(); ++i) {
    if (is_integer_type(arguments[i].type()) && of(instruction.in[i]).content) return true;
  }
  return false;
}

// Images are taken from, or put to, computed places: rows of dimension 0 where it is not known
// which dimension holds them.
bool ValueFlow::rows_are_moved(const Instruction& instruction, const Slots& slots) const {
  static const Names kByList = {"index", "index_put", "_index_put_impl"};
  static const Names kByDimension = {"index_select", "gather",      "take_along_dim",
                                     "scatter",      "scatter_add", "scatter_reduce",
                                     "index_add",    "index_copy",  "index_reduce"};
  const std::string_view name = bare_name(instruction);
  if (instruction.schema == nullptr || instruction.in.size() < 2) return false;
  if (!of(moved_operand(instruction)).content) return false;  // rows of a table, not of images
  const std::int64_t dim = images_ ? images_(moved_operand(instruction)).value_or(0) : 0;
  if (kByList.count(name) > 0) {
    if (!of(instruction.in[1]).content) return false;
    const c10::IValue& indices = slots[static_cast<std::size_t>(instruction.in[1])];
    if (!indices.isList() || indices.toListRef().empty()) return true;
    const auto list = indices.toListRef();
    const auto position = static_cast<std::size_t>(dim);
    return position < list.size() && is_row_index(list[position]);
  }
  if (kByDimension.count(name) == 0) return false;
  const auto& arguments = instruction.schema->arguments();
  for (std::size_t i = 0; i < arguments.size() && i < instruction.in.size(); ++i) {
    if (!is_index(instruction, i) || !of(instruction.in[i]).content) continue;
    return names_dimension(instruction.argument("dim", slots),
                           slots[static_cast<std::size_t>(instruction.in[0])], dim);
  }
  return false;
}

// A reduction, a sort or a scan over the images of a batch.
bool ValueFlow::mixes_images(const Instruction& instruction, const Slots& slots) const {
  static const Names kReductions = {"max",
                                    "min",
                                    "amax",
                                    "amin",
                                    "aminmax",
                                    "argmax",
                                    "argmin",
                                    "quantile",
                                    "nanquantile",
                                    "median",
                                    "nanmedian",
                                    "mode",
                                    "kthvalue",
                                    "sort",
                                    "msort",
                                    "argsort",
                                    "topk",
                                    "sum",
                                    "nansum",
                                    "mean",
                                    "nanmean",
                                    "prod",
                                    "std",
                                    "var",
                                    "std_mean",
                                    "var_mean",
                                    "norm",
                                    "linalg_vector_norm",
                                    "linalg_norm",
                                    "frobenius_norm",
                                    "logsumexp",
                                    "softmax",
                                    "log_softmax",
                                    "_softmax",
                                    "_log_softmax",
                                    "cumsum",
                                    "cumprod",
                                    "cummax",
                                    "cummin",
                                    "logcumsumexp",
                                    "any",
                                    "all",
                                    "count_nonzero",
                                    "histc",
                                    "quantize_per_tensor_dynamic",
                                    "linear_dynamic",
                                    "linear_relu_dynamic",
                                    "linear_dynamic_fp16",
                                    "choose_qparams_tensor",
                                    "_aminmax",
                                    "choose_qparams_optimized",
                                    "fused_moving_avg_obs_fake_quant",
                                    "renorm",
                                    "dist"};
  static const Names kNormalisations = {"batch_norm", "native_batch_norm", "cudnn_batch_norm",
                                        "_batch_norm_impl_index", "_native_batch_norm_legit"};
  if (!images_ || instruction.in.empty()) return false;
  const auto dim = images_(instruction.in[0]);
  if (!dim) return false;
  const std::string_view name = bare_name(instruction);
  if (kNormalisations.count(name) > 0) {
    return is_true(instruction.argument("training", slots)) ||
           is_true(instruction.argument("train", slots));
  }
  if (kReductions.count(name) == 0 || instruction.argument("other", slots) != nullptr) return false;
  return names_dimension(instruction.argument("dim", slots),
                         slots[static_cast<std::size_t>(instruction.in[0])], *dim);
}

bool ValueFlow::branches_on_values(const Instruction& instruction) {
  if (instruction.kind == Instruction::Kind::kCall) return false;
  const bool loop = instruction.kind == Instruction::Kind::kLoop;
  follow_branches(instruction, program_.fixed);  // marks what lies within
  bool chosen = of(instruction.in[0]).content || (loop && of(instruction.in[1]).content) ||
                (loop && of(instruction.branches[0].outputs[0]).content);
  for (const CompiledBranch& branch : instruction.branches) chosen &= !branch.raises;
  if (chosen) return true;
  for (const CompiledBranch& branch : instruction.branches) {
    for (const Instruction& inner : branch.instructions) {
      if (branches_on_values(inner)) return true;
    }
  }
  return false;
}

bool branches_on_values(const Instructions& program) {
  ValueFlow flow(program);
  for (std::size_t i = 0; i < program.steps.size(); ++i) {
    if (flow.branches_on_values(program.steps[i])) return true;
    flow.follow(static_cast<int>(i), program.fixed);
  }
  return false;
}

bool is_random(const Instruction& instruction, const Slots& slots) {
  if (!instruction.tags.random) return false;
  for (const char* name : {"train", "training"}) {
    const c10::IValue* train = instruction.argument(name, slots);
    if (train && train->isBool() && !train->toBool()) return false;
  }
  for (const char* name : {"p", "dropout_p", "dropout"}) {
    const c10::IValue* rate = instruction.argument(name, slots);
    if (rate && rate->isDouble() && rate->toDouble() == 0) return false;
  }
  return true;
}

}  // namespace bitfall
