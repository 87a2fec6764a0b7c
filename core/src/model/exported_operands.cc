#include "exported_operands.h"

#include <ATen/ScalarOps.h>
#include <ATen/core/List.h>
#include <c10/core/Layout.h>
#include <c10/core/MemoryFormat.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

namespace bitfall {
namespace {

c10::TypePtr without_optional(const c10::TypePtr& type) {
  const auto optional = type->cast<c10::OptionalType>();
  return optional ? without_optional(optional->getElementType()) : type;
}

std::int64_t memory_format(std::int64_t code) {
  static constexpr c10::MemoryFormat kFormats[] = {
      c10::MemoryFormat::Contiguous, c10::MemoryFormat::ChannelsLast,
      c10::MemoryFormat::ChannelsLast3d, c10::MemoryFormat::Preserve};
  if (code < 1 || code > 4) throw std::invalid_argument("a memory format that is not known");
  return static_cast<std::int64_t>(kFormats[code - 1]);
}

std::int64_t layout(std::int64_t code) {
  constexpr std::int64_t kStrided = 7;
  if (code != kStrided) throw std::invalid_argument("tensors that are not dense");
  return static_cast<std::int64_t>(c10::Layout::Strided);
}

c10::IValue plain(const ExportedArgument& argument, const c10::Device& device) {
  if (const auto* flag = argument.as<bool>()) return *flag;
  if (const auto* number = argument.as<std::int64_t>()) return *number;
  if (const auto* number = argument.as<double>()) return *number;
  if (const auto* number = argument.as<std::complex<double>>()) {
    return c10::complex<double>(number->real(), number->imag());
  }
  if (const auto* text = argument.as<std::string>()) return *text;
  if (const auto* type = argument.as<ExportedArgument::NumberType>()) {
    return static_cast<std::int64_t>(number_type(type->code));
  }
  if (const auto* format = argument.as<ExportedArgument::MemoryFormat>()) {
    return memory_format(format->code);
  }
  if (const auto* kind = argument.as<ExportedArgument::Layout>()) return layout(kind->code);
  if (argument.as<ExportedArgument::Device>()) return device;
  if (const auto* unknown = argument.as<ExportedArgument::Unknown>()) {
    throw std::invalid_argument("an operand of a kind that is not known: " + unknown->kind);
  }
  if (argument.as<std::shared_ptr<const ExportedGraph>>()) {
    throw std::invalid_argument("a graph as operand");
  }
  return {};
}

bool is_number(const c10::IValue& value) {
  return value.isInt() || value.isDouble() || value.isBool() || value.isComplexDouble();
}

// A constant of one element, of that type.
c10::IValue single(const ExportedArgument& argument, const c10::TypePtr& type,
                   const c10::Device& device) {
  c10::IValue value = plain(argument, device);
  if (value.isNone()) {
    if (type->kind() == c10::TypeKind::OptionalType) return value;
    throw std::invalid_argument("nothing, where it wants " + type->str());
  }
  const c10::TypePtr inner = without_optional(type);
  bool fits = false;
  switch (inner->kind()) {
    case c10::TypeKind::TensorType:
    case c10::TypeKind::NumberType:
      fits = is_number(value);
      break;
    case c10::TypeKind::IntType:
    case c10::TypeKind::SymIntType:
      if (value.isBool()) value = static_cast<std::int64_t>(value.toBool());
      fits = value.isInt();
      break;
    case c10::TypeKind::FloatType:
    case c10::TypeKind::SymFloatType:
      value = fitted_number(value, inner);
      fits = value.isDouble();
      break;
    case c10::TypeKind::BoolType:
    case c10::TypeKind::SymBoolType:
      if (value.isInt()) value = value.toInt() != 0;
      fits = value.isBool();
      break;
    case c10::TypeKind::StringType:
      fits = value.isString();
      break;
    case c10::TypeKind::DeviceObjType:
      fits = value.isDevice();
      break;
    default:
      break;
  }
  if (!fits) throw std::invalid_argument("another operand than it wants (" + type->str() + ")");
  return value;
}

}  // namespace

c10::ScalarType number_type(std::int64_t code) {
  static const std::pair<std::int64_t, c10::ScalarType> kTypes[] = {{1, c10::kByte},
                                                                    {2, c10::kChar},
                                                                    {3, c10::kShort},
                                                                    {4, c10::kInt},
                                                                    {5, c10::kLong},
                                                                    {6, c10::kHalf},
                                                                    {7, c10::kFloat},
                                                                    {8, c10::kDouble},
                                                                    {9, c10::kComplexHalf},
                                                                    {10, c10::kComplexFloat},
                                                                    {11, c10::kComplexDouble},
                                                                    {12, c10::kBool},
                                                                    {13, c10::kBFloat16},
                                                                    {28, c10::kUInt16},
                                                                    {29, c10::kFloat8_e4m3fn},
                                                                    {30, c10::kFloat8_e5m2},
                                                                    {31, c10::kFloat8_e4m3fnuz},
                                                                    {32, c10::kFloat8_e5m2fnuz},
                                                                    {33, c10::kFloat8_e8m0fnu},
                                                                    {34, c10::kUInt32},
                                                                    {35, c10::kUInt64}};
  for (const auto& [number, type] : kTypes) {
    if (number == code) return type;
  }
  throw std::invalid_argument("numbers of a kind that is not known: " + std::to_string(code));
}

bool is_computed(const ExportedArgument& argument) {
  if (argument.name() != nullptr) return true;
  const auto* list = argument.as<ExportedArgument::List>();
  return list != nullptr && std::any_of(list->begin(), list->end(), is_computed);
}

c10::TypePtr element_type(const c10::Argument& wanted) {
  const auto list = without_optional(wanted.type())->cast<c10::ListType>();
  return list ? list->getElementType() : nullptr;
}

c10::IValue constant_operand(const ExportedArgument& argument, const c10::Argument& wanted,
                             const c10::Device& device) {
  const c10::TypePtr element = element_type(wanted);
  const auto* given = argument.as<ExportedArgument::List>();
  if (element == nullptr) {
    if (given != nullptr) throw std::invalid_argument("a list, where it wants one value");
    return single(argument, wanted.type(), device);
  }
  const bool none = argument.as<ExportedArgument::None>() != nullptr;
  if (none && wanted.type()->kind() == c10::TypeKind::OptionalType) return {};
  c10::impl::GenericList list(element);
  if (given != nullptr) {
    for (const ExportedArgument& one : *given) list.push_back(single(one, element, device));
    return list;
  }
  const c10::IValue one = single(argument, element, device);
  for (std::int32_t i = 0; i < wanted.N().value_or(1); ++i) list.push_back(one);
  return list;
}

bool takes_other_numbers(const c10::TypePtr& wanted) {
  const auto kind = without_optional(wanted)->kind();
  return kind == c10::TypeKind::TensorType || kind == c10::TypeKind::FloatType;
}

c10::IValue fitted_number(const c10::IValue& value, const c10::TypePtr& wanted) {
  const auto kind = without_optional(wanted)->kind();
  if (kind == c10::TypeKind::TensorType && is_number(value)) {
    return at::native::wrapped_scalar_tensor(value.toScalar());
  }
  if (kind == c10::TypeKind::FloatType && value.isInt()) {
    return static_cast<double>(value.toInt());
  }
  return value;
}

}  // namespace bitfall
