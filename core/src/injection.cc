#include "injection.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>

#include "error.h"

namespace bitfall {
namespace {

bool same_bits(float a, float b) {
  return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b);
}

float clamped(float value, std::optional<float> clamp) {
  if (!clamp || !std::isfinite(*clamp)) return value;
  if (std::isnan(value)) return *clamp;
  return std::clamp(value, -*clamp, *clamp);
}

std::size_t metadata_size(const NumberFormat& format, std::span<const std::int64_t> shape) {
  std::int64_t size = 0;
  for (int i = 1; i < static_cast<int>(format.registers().size()); ++i) {
    size += format.register_count(i, shape);
  }
  return static_cast<std::size_t>(size);
}

// Where registers of a kind start within the metadata.
std::size_t metadata_offset(const NumberFormat& format, int kind,
                            std::span<const std::int64_t> shape) {
  std::int64_t offset = 0;
  for (int i = 1; i < kind; ++i) offset += format.register_count(i, shape);
  return static_cast<std::size_t>(offset);
}

std::vector<std::uint32_t> own_metadata(const NumberFormat& format,
                                        std::span<const std::int64_t> shape,
                                        std::span<const std::uint32_t> calibrated) {
  std::vector<std::uint32_t> metadata(metadata_size(format, shape));
  if (calibrated.size() == metadata.size()) {
    std::copy(calibrated.begin(), calibrated.end(), metadata.begin());
  } else if (format.calibrated() && !metadata.empty()) {
    throw Error(ExitCode::kFailure, "internal: a calibrated format was used before calibration");
  }
  return metadata;
}

// Payload edits under an elementwise format: only the hit elements are encoded.
Injection inject_elements(const NumberFormat& format, std::span<const float> golden,
                          std::span<const std::int64_t> shape,
                          std::span<const std::uint32_t> calibrated, std::span<const Edit> edits,
                          std::optional<float> clamp) {
  std::vector<std::uint32_t> metadata = own_metadata(format, shape, calibrated);
  const auto encode = [&](std::int64_t element, float value) {
    std::uint32_t code = 0;
    format.encode({&value, 1}, {shape, element}, metadata, {&code, 1});
    return code;
  };
  std::map<std::int64_t, std::uint32_t> codes;
  Injection result;
  for (const Edit& edit : edits) {
    const float before = golden[static_cast<std::size_t>(edit.element)];
    const auto [it, fresh] = codes.try_emplace(edit.element, 0);
    if (fresh) it->second = encode(edit.element, before);
    EditRecord record{edit, it->second, 0, before, before};
    it->second = edit.operation == EditOperation::kValue ? encode(edit.element, edit.value)
                                                         : apply_edit(edit, it->second);
    record.code_after = it->second;
    result.records.push_back(record);
  }
  std::map<std::int64_t, float> after;
  for (const auto& [element, code] : codes) {
    float value = 0;
    format.decode({&code, 1}, {shape, element}, metadata, {&value, 1});
    const float before = golden[static_cast<std::size_t>(element)];
    // A code that the edits left alone stands for the golden value even if decoding has a second
    // form of it.
    if (code == encode(element, before)) value = before;
    if (!same_bits(value, before)) value = clamped(value, clamp);
    after[element] = value;
    if (!same_bits(value, before)) result.changes.push_back({element, value});
  }
  for (EditRecord& record : result.records) record.value_after = after[record.edit.element];
  return result;
}

// Anything else: the whole tensor is stored, edited and decoded.
Injection inject_tensor(const NumberFormat& format, std::span<const float> golden,
                        std::span<const std::int64_t> shape,
                        std::span<const std::uint32_t> calibrated, std::span<const Edit> edits,
                        std::optional<float> clamp) {
  std::vector<float> values(golden.begin(), golden.end());
  for (const Edit& edit : edits) {
    if (edit.operation == EditOperation::kValue)
      values[static_cast<std::size_t>(edit.element)] = edit.value;
  }
  std::vector<std::uint32_t> metadata = own_metadata(format, shape, calibrated);
  std::vector<std::uint32_t> clean_metadata = metadata;
  std::vector<std::uint32_t> codes(golden.size()), clean_codes(golden.size());
  format.encode(golden, {shape, 0}, clean_metadata, clean_codes);
  format.encode(values, {shape, 0}, metadata, codes);
  Injection result;
  for (const Edit& edit : edits) {
    EditRecord record;
    record.edit = edit;
    const auto element = static_cast<std::size_t>(edit.element);
    if (edit.register_index == 0) {
      const bool real = edit.operation == EditOperation::kValue;
      record.code_before = real ? clean_codes[element] : codes[element];
      if (!real) codes[element] = apply_edit(edit, codes[element]);
      record.code_after = codes[element];
      record.value_before = golden[element];
    } else {
      std::uint32_t& code = metadata[metadata_offset(format, edit.register_index, shape) + element];
      record.code_before = code;
      code = apply_edit(edit, code);
      record.code_after = code;
      record.value_before =
          static_cast<float>(format.metadata_value(edit.register_index, record.code_before));
      record.value_after = static_cast<float>(format.metadata_value(edit.register_index, code));
    }
    result.records.push_back(record);
  }
  format.decode(codes, {shape, 0}, metadata, values);
  const bool same_metadata = metadata == clean_metadata;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (same_metadata && codes[i] == clean_codes[i]) values[i] = golden[i];
    if (same_bits(values[i], golden[i])) continue;
    values[i] = clamped(values[i], clamp);
    if (!same_bits(values[i], golden[i]))
      result.changes.push_back({static_cast<std::int64_t>(i), values[i]});
  }
  for (EditRecord& record : result.records) {
    if (record.edit.register_index == 0) {
      record.value_after = values[static_cast<std::size_t>(record.edit.element)];
    }
  }
  return result;
}

}  // namespace

std::uint32_t apply_edit(const Edit& edit, std::uint32_t code) {
  switch (edit.operation) {
    case EditOperation::kFlip:
      return code ^ edit.mask;
    case EditOperation::kSet:
      return code | edit.mask;
    case EditOperation::kClear:
      return code & ~edit.mask;
    case EditOperation::kWrite:
      return edit.mask;
    case EditOperation::kValue:
      break;
  }
  return code;
}

Injection inject(const NumberFormat& format, std::span<const float> golden,
                 std::span<const std::int64_t> shape, std::span<const std::uint32_t> metadata,
                 std::span<const Edit> edits, std::optional<float> clamp) {
  const bool payload_only = std::all_of(edits.begin(), edits.end(),
                                        [](const Edit& edit) { return edit.register_index == 0; });
  return payload_only && format.elementwise()
             ? inject_elements(format, golden, shape, metadata, edits, clamp)
             : inject_tensor(format, golden, shape, metadata, edits, clamp);
}

void emulate_slice(const NumberFormat& format, std::span<float> values, const Slice& slice,
                   std::span<const std::uint32_t> metadata) {
  constexpr std::size_t kBlock = 4096;  // codes stay in the first-level cache
  std::uint32_t codes[kBlock];
  std::vector<std::uint32_t> registers = own_metadata(format, slice.shape, metadata);
  for (std::size_t at = 0; at < values.size(); at += kBlock) {
    const std::span<float> part = values.subspan(at, std::min(kBlock, values.size() - at));
    const Slice where{slice.shape, slice.first + static_cast<std::int64_t>(at)};
    const std::span<std::uint32_t> used(codes, part.size());
    format.encode(part, where, registers, used);
    format.decode(used, where, registers, part);
  }
}

void emulate(const NumberFormat& format, std::span<float> values,
             std::span<const std::int64_t> shape, std::span<const std::uint32_t> metadata) {
  if (format.exact()) return;
  if (format.elementwise()) return emulate_slice(format, values, {shape, 0}, metadata);
  std::vector<std::uint32_t> registers = own_metadata(format, shape, metadata);
  std::vector<std::uint32_t> codes(values.size());
  format.encode(values, {shape, 0}, registers, codes);
  format.decode(codes, {shape, 0}, registers, values);
}

}  // namespace bitfall
