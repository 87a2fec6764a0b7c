#include "injection.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <stdexcept>

#include "bitfall/extensions/memory_code.h"

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

// Where registers of a kind start within the metadata.
std::size_t metadata_offset(const NumberFormat& format, int kind,
                            std::span<const std::int64_t> shape) {
  std::int64_t offset = 0;
  for (int i = 1; i < kind; ++i) offset += format.register_count(i, shape);
  return static_cast<std::size_t>(offset);
}

void check_calibrated(std::span<const std::uint32_t> registers, std::size_t size) {
  if (registers.size() != size)
    throw std::logic_error("a calibrated format was used before calibration");
}

std::vector<std::uint32_t> own_metadata(const NumberFormat& format,
                                        std::span<const std::int64_t> shape,
                                        std::span<const std::uint32_t> calibrated) {
  const auto size = static_cast<std::size_t>(metadata_size(format, shape));
  if (!format.calibrated()) return std::vector<std::uint32_t>(size);
  check_calibrated(calibrated, size);
  return {calibrated.begin(), calibrated.end()};
}

// Registers of a fault's own. What is computed again needs space and no values: a block's encoding
// writes the registers that are read later, and clearing them would take longer than a fault.
std::span<std::uint32_t> registers_in(std::vector<std::uint32_t>& scratch,
                                      const NumberFormat& format,
                                      std::span<const std::int64_t> shape,
                                      std::span<const std::uint32_t> calibrated) {
  const auto size = static_cast<std::size_t>(metadata_size(format, shape));
  if (scratch.size() < size) scratch.resize(size);
  const auto registers = std::span(scratch).first(size);
  if (format.calibrated()) {
    check_calibrated(calibrated, size);
    std::copy(calibrated.begin(), calibrated.end(), registers.begin());
  }
  return registers;
}

float edited_value(const Edit& edit, float golden) {
  if (edit.operation == EditOperation::kAdd) return golden + edit.value;
  if (edit.operation == EditOperation::kMultiply) return golden * edit.value;
  return edit.value;
}

// The elements of one tensor that are stored together, as a fault changes them.
class Block {
 public:
  Block(const NumberFormat& format, const ElementRun& run, std::span<const std::int64_t> shape,
        std::uint64_t stream, std::span<const float> golden, std::span<std::uint32_t> metadata)
      : format_(format),
        run_(run),
        slice_{shape, run.first, run.stride, stream},
        metadata_(metadata),
        golden_(static_cast<std::size_t>(run.count)),
        codes_(golden_.size()) {
    for (std::size_t i = 0; i < golden_.size(); ++i) {
      golden_[i] = golden[static_cast<std::size_t>(element(i))];
    }
    format_.encode(golden_, slice_, metadata_, codes_);
    clean_codes_ = codes_;
  }

  /// Metadata that the golden values alone have; only worth keeping where they may change.
  void keep_clean_metadata() {
    if (clean_metadata_.empty()) clean_metadata_.assign(metadata_.begin(), metadata_.end());
  }

  void edit_payload(const Edit& edit, EditRecord& record) {
    const std::size_t i = place(edit.element);
    if (!is_real(edit.operation)) store();
    record.code_before = codes_[i];
    record.value_before = codes_[i] == clean_codes_[i] ? golden_[i] : decoded()[i];
    if (is_real(edit.operation)) {
      if (!format_.elementwise()) keep_clean_metadata();
      if (values_.empty()) values_ = decoded();
      values_[i] = edited_value(edit, golden_[i]);
      // One element is stored at once; a block when all of its real numbers are known.
      if (format_.elementwise() && codes_.size() == 1) store();
    } else {
      codes_[i] = apply_edit(edit, codes_[i]);
    }
    record.code_after = codes_[i];
  }

  void edit_metadata(const Edit& edit, EditRecord& record) {
    store();
    keep_clean_metadata();
    const int kind = edit.register_index;
    std::uint32_t& code = metadata_[metadata_offset(format_, kind, slice_.shape) +
                                    static_cast<std::size_t>(edit.element)];
    record.code_before = code;
    code = apply_edit(edit, code);
    record.code_after = code;
    record.value_before = static_cast<float>(format_.metadata_value(kind, record.code_before));
    record.value_after = static_cast<float>(format_.metadata_value(kind, code));
  }

  /// Decodes and adds what differs from golden.
  void finish(std::optional<float> clamp, std::vector<Change>& changes) {
    store();
    std::vector<float> values = decoded();
    const bool same_metadata =
        clean_metadata_.empty() || std::equal(metadata_.begin(), metadata_.end(),
                                              clean_metadata_.begin(), clean_metadata_.end());
    for (std::size_t i = 0; i < values.size(); ++i) {
      // A code that the edits left alone stands for the golden value even if decoding has a second
      // form of it.
      if (same_metadata && codes_[i] == clean_codes_[i]) values[i] = golden_[i];
      if (!same_bits(values[i], golden_[i])) {
        values[i] = clamped(values[i], clamp);
        if (!same_bits(values[i], golden_[i])) changes.push_back({element(i), values[i]});
      }
    }
    values_ = std::move(values);
  }

  /// What the format's code in memory says of the faulty words.
  MemoryVerdict check(const MemoryCode& code) const {
    return code.check(codes_, slice_, metadata_);
  }

  /// After finish().
  float value(std::int64_t element) const { return values_[place(element)]; }
  std::uint32_t code(std::int64_t element) const { return codes_[place(element)]; }

 private:
  std::int64_t element(std::size_t i) const {
    return run_.first + static_cast<std::int64_t>(i) * run_.stride;
  }
  std::size_t place(std::int64_t element) const {
    return static_cast<std::size_t>((element - run_.first) / run_.stride);
  }
  std::vector<float> decoded() const {
    std::vector<float> values(codes_.size());
    format_.decode(codes_, slice_, metadata_, values);
    return values;
  }
  // Encodes real numbers that were edited.
  void store() {
    if (values_.empty()) return;
    format_.encode(values_, slice_, metadata_, codes_);
    values_.clear();
  }

  const NumberFormat& format_;
  ElementRun run_;
  Slice slice_;
  std::span<std::uint32_t> metadata_;  // of the whole tensor
  std::vector<float> golden_;
  std::vector<std::uint32_t> codes_, clean_codes_;
  std::vector<std::uint32_t> clean_metadata_;  // empty while nothing can have changed them
  std::vector<float> values_;                  // edited and not yet stored; at the end, all
};

// What an edit of a payload leaves is what the next edit of that element finds, and after the last
// what the finished block holds.
template <typename BlockOf>
void complete_records(std::vector<EditRecord>& records, const BlockOf& block_of) {
  std::map<std::int64_t, const EditRecord*> next;  // by element
  for (auto record = records.rbegin(); record != records.rend(); ++record) {
    const Edit& edit = record->edit;
    if (edit.register_index != 0) continue;
    const EditRecord*& later = next[edit.element];
    const Block& block = block_of(edit);
    record->value_after = later ? later->value_before : block.value(edit.element);
    if (is_real(edit.operation)) {
      record->code_after = later ? later->code_before : block.code(edit.element);
    }
    later = &*record;
  }
}

std::int8_t class_of(const NumberFormat& format, const EditRecord& record) {
  const std::uint32_t bits = edited_bits(record);
  if (bits == 0) return -1;
  if (record.edit.register_index > 0) return static_cast<std::int8_t>(BitClass::kMetadata);
  const int highest = static_cast<int>(std::bit_width(bits)) - 1;
  return static_cast<std::int8_t>(format.bit_class(record.code_before, highest));
}

}  // namespace

std::vector<std::uint64_t> key_of(std::span<const Change> changes) {
  std::vector<std::uint64_t> key;
  for (const Change& change : changes) {
    key.push_back(static_cast<std::uint64_t>(change.element));
    key.push_back(std::bit_cast<std::uint32_t>(change.value));
  }
  return key;
}

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
    case EditOperation::kAdd:
    case EditOperation::kMultiply:
      break;
  }
  return code;
}

std::vector<ElementRun> elements_read(const NumberFormat& format,
                                      std::span<const std::int64_t> shape,
                                      std::span<const Edit> edits) {
  std::vector<ElementRun> runs;
  for (const Edit& edit : edits) {
    if (edit.register_index != 0) return {{0, element_count(shape), 1}};
    runs.push_back(format.block(edit.element, shape));
  }
  return runs;
}

Injection inject(const NumberFormat& format, std::span<const float> golden,
                 std::span<const std::int64_t> shape, std::span<const std::uint32_t> calibrated,
                 std::span<const Edit> edits, std::optional<float> clamp,
                 std::vector<std::uint32_t>& scratch, std::uint64_t stream) {
  const std::span<std::uint32_t> metadata = registers_in(scratch, format, shape, calibrated);
  const bool payload_only = std::all_of(edits.begin(), edits.end(),
                                        [](const Edit& edit) { return edit.register_index == 0; });
  const ElementRun whole{0, static_cast<std::int64_t>(golden.size()), 1};
  std::map<std::int64_t, Block> blocks;  // by first element
  const auto block_of = [&](const Edit& edit) -> Block& {
    const ElementRun run = payload_only ? format.block(edit.element, shape) : whole;
    return blocks.try_emplace(run.first, format, run, shape, stream, golden, metadata)
        .first->second;
  };
  Injection result;
  for (const Edit& edit : edits) {
    EditRecord& record = result.records.emplace_back();
    record.edit = edit;
    if (edit.register_index == 0) {
      block_of(edit).edit_payload(edit, record);
    } else {
      block_of(edit).edit_metadata(edit, record);
    }
  }
  for (auto& [_, block] : blocks) block.finish(clamp, result.changes);
  if (const auto* code = static_cast<const MemoryCode*>(format.extension(kMemoryCode))) {
    for (auto& [_, block] : blocks) {
      const MemoryVerdict verdict = block.check(*code);
      result.corrected |= verdict.corrected > 0;
      result.noticed |= verdict.detected > 0;
    }
  }
  std::sort(result.changes.begin(), result.changes.end(),
            [](const Change& a, const Change& b) { return a.element < b.element; });
  complete_records(result.records, block_of);
  for (EditRecord& record : result.records) record.bit_class = class_of(format, record);
  return result;
}

void emulate(const NumberFormat& format, std::span<float> values, const Slice& slice,
             std::span<const std::uint32_t> metadata) {
  if (format.exact()) return;
  std::vector<std::uint32_t> registers = own_metadata(format, slice.shape, metadata);
  format.emulate(values, slice, registers);
}

}  // namespace bitfall
