#include "faults.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <limits>
#include <optional>
#include <ostream>
#include <set>
#include <span>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "csv.h"
#include "error.h"
#include "numbers.h"
#include "protected_format.h"
#include "words.h"

namespace bitfall {
namespace {

constexpr std::size_t kShownErrors = 20;
constexpr std::size_t kShownText = 60;  // characters of a field quoted in a message
constexpr const char* kHeader = "fault,site,image,target,element,register,op,mask";

enum Column : std::size_t {
  kSiteColumn,
  kImageColumn,
  kTargetColumn,
  kElementColumn,
  kRegisterColumn,
  kOpColumn,
  kMaskColumn,
  kColumns
};
constexpr std::array<const char*, kColumns> kColumnNames = {
    "site", "image", "target", "element", "register", "op", "mask"};

/// The value whose name this is.
template <typename Enum, std::size_t count>
std::optional<Enum> named(std::string_view text, const std::array<const char*, count>& names) {
  const auto found = std::find(names.begin(), names.end(), text);
  if (found == names.end()) return std::nullopt;
  return static_cast<Enum>(found - names.begin());
}

/// A field for a message: in quotes, short, and without control characters.
std::string shown(std::string_view text) {
  std::string out = "'";
  for (const char c : text.substr(0, kShownText)) {
    const auto byte = static_cast<unsigned char>(c);
    out += byte < 0x20 || byte == 0x7F ? '?' : c;
  }
  return out + (text.size() > kShownText ? "...'" : "'");
}

/// The first errors of a list with their places, and how many there are.
class ListErrors {
 public:
  explicit ListErrors(std::string path) : path_(std::move(path)) {}

  void add(CsvPlace where, const std::string& message) {
    if (count_++ < kShownErrors) {
      text_ += path_ + ':' + std::to_string(where.line) + ':' + std::to_string(where.column) +
               ": " + message + '\n';
    }
  }
  /// True when a further message would not be shown, so that it need not be made.
  bool full() const { return count_ >= kShownErrors; }

  void throw_if_any() const {
    if (count_ == 0) return;
    const std::size_t hidden = count_ - std::min(count_, kShownErrors);
    throw Error(ExitCode::kInput,
                text_ + (hidden ? "... and " + std::to_string(hidden) + " more; " : "") +
                    std::to_string(count_) + (count_ == 1 ? " error" : " errors") + " in " + path_);
  }

 private:
  std::string path_;
  std::string text_;
  std::size_t count_ = 0;
};

class FaultListReader {
 public:
  FaultListReader(const std::filesystem::path& path, std::string_view text,
                  std::span<const Site> sites, const Dataset& dataset, const SiteFormats& formats);
  std::vector<ListedFault> read();

 private:
  using Row = std::vector<CsvField>;
  using NumberOf = std::unordered_map<std::string_view, std::int32_t>;

  void read_header();
  void read_row(const Row& row);
  const CsvField& field(const Row& row, Column column) const { return row[columns_[column]]; }
  std::optional<Target> read_target(const CsvField& field);
  std::optional<std::int32_t> read_site(const CsvField& field, Target target);
  std::optional<std::int32_t> read_image(const CsvField& field);
  std::optional<std::int32_t> read_register(const CsvField& field, std::int32_t site);
  std::optional<EditOperation> read_operation(const CsvField& field);
  std::optional<std::int64_t> read_number(const CsvField& field, const char* what);
  std::optional<std::uint32_t> read_mask(const CsvField& field);
  bool check_edit(const Row& row, std::int32_t site, const Edit& edit);
  void add_edit(const Row& row, std::optional<std::int64_t> group, std::int32_t site,
                std::int32_t image, const Edit& edit);
  const std::vector<SiteRegister>& registers_of(std::int32_t site);

  CsvReader rows_;
  std::string path_;
  ListErrors errors_;
  std::span<const Site> sites_;
  const Dataset& dataset_;
  SiteFormats formats_;
  std::array<NumberOf, kTargetNames.size()> site_numbers_;  // by target
  std::vector<std::vector<SiteRegister>> site_registers_;   // by site, filled when first met
  std::array<std::size_t, kColumns> columns_{};             // where each column stands in a row
  std::optional<std::size_t> group_column_;
  std::size_t width_ = 0;
  std::vector<ListedFault> faults_;
  std::optional<std::int64_t> group_;                                     // of the last fault
  std::set<std::tuple<std::int64_t, std::int32_t, std::int32_t>> begun_;  // number, site, image
};

FaultListReader::FaultListReader(const std::filesystem::path& path, std::string_view text,
                                 std::span<const Site> sites, const Dataset& dataset,
                                 const SiteFormats& formats)
    : rows_(text),
      path_(path.string()),
      errors_(path_),
      sites_(sites),
      dataset_(dataset),
      formats_(formats),
      site_registers_(sites.size()) {
  const auto numbers = [&](const Site& site) -> NumberOf& {
    return site_numbers_[static_cast<std::size_t>(site.target)];
  };
  for (std::size_t i = 0; i < sites.size(); ++i) {
    numbers(sites[i]).try_emplace(sites[i].name, static_cast<std::int32_t>(i));
  }
  for (std::size_t i = 0; i < sites.size(); ++i) {  // a name goes before another site's alias
    for (const std::string& alias : sites[i].aliases) {
      numbers(sites[i]).try_emplace(alias, static_cast<std::int32_t>(i));
    }
  }
}

std::vector<ListedFault> FaultListReader::read() {
  read_header();
  errors_.throw_if_any();
  while (const Row* row = rows_.next()) read_row(*row);
  if (rows_.problem()) errors_.add(rows_.problem()->where, rows_.problem()->message);
  errors_.throw_if_any();
  if (faults_.empty()) throw Error(ExitCode::kInput, path_ + ": the list has no faults");
  return std::move(faults_);
}

void FaultListReader::read_header() {
  const Row* row = rows_.next();
  if (!row) {
    if (rows_.problem()) errors_.add(rows_.problem()->where, rows_.problem()->message);
    errors_.throw_if_any();
    throw Error(ExitCode::kInput, path_ + ": is empty; the first line must be " + kHeader);
  }
  width_ = row->size();
  std::array<bool, kColumns> seen{};
  std::optional<std::size_t> fault, trial;
  std::string found;
  for (std::size_t i = 0; i < row->size(); ++i) {
    const CsvField& field = (*row)[i];
    if (i < kShownErrors) found += (found.empty() ? "" : ", ") + shown(field.text);
    const auto name = std::find(kColumnNames.begin(), kColumnNames.end(), field.text);
    const bool group = field.text == "fault" || field.text == "trial";
    std::optional<std::size_t>& group_place = field.text == "fault" ? fault : trial;
    const auto column = static_cast<std::size_t>(name - kColumnNames.begin());
    if ((group && group_place) || (!group && column < kColumns && seen[column])) {
      errors_.add(field.where, "the column " + shown(field.text) + " occurs twice");
    } else if (group) {
      group_place = i;
    } else if (column < kColumns) {
      seen[column] = true;
      columns_[column] = i;
    }
  }
  group_column_ = fault ? fault : trial;
  std::string missing;
  for (std::size_t column = 0; column < kColumns; ++column) {
    if (!seen[column])
      missing += (missing.empty() ? "'" : ", '") + std::string(kColumnNames[column]) + "'";
  }
  if (!missing.empty()) {
    errors_.add(row->front().where, "the header lacks " + missing + "; it has " + found +
                                        (row->size() > kShownErrors ? ", ..." : "") +
                                        " (a list begins with " + kHeader + ")");
  }
}

void FaultListReader::read_row(const Row& row) {
  if (row.size() != width_) {
    errors_.add(row.front().where, "the row has " + std::to_string(row.size()) +
                                       (row.size() == 1 ? " field" : " fields") +
                                       ", the header has " + std::to_string(width_));
    return;
  }
  std::optional<std::int64_t> group;
  bool good = true;
  if (group_column_) {
    group = read_number(row[*group_column_], "the fault's number");
    good = group.has_value();
  }
  const auto target = read_target(field(row, kTargetColumn));
  std::optional<std::int32_t> site;
  if (target) site = read_site(field(row, kSiteColumn), *target);
  const auto image = read_image(field(row, kImageColumn));
  const auto element = read_number(field(row, kElementColumn), "element");
  std::optional<std::int32_t> index;
  if (site) index = read_register(field(row, kRegisterColumn), *site);
  const auto operation = read_operation(field(row, kOpColumn));
  const auto mask = read_mask(field(row, kMaskColumn));
  if (!good || !site || !image || !element || !index || !operation || !mask) return;

  Edit edit{*element, *index, *operation, *mask, 0};
  if (!check_edit(row, *site, edit)) return;
  if (is_real(edit.operation)) {
    edit.value = std::bit_cast<float>(edit.mask);
    edit.mask = 0;
  }
  add_edit(row, group, *site, *image, edit);
}

void FaultListReader::add_edit(const Row& row, std::optional<std::int64_t> group, std::int32_t site,
                               std::int32_t image, const Edit& edit) {
  if (!group || group != group_ || faults_.empty()) {
    // A number that begins anew at another site or image is another fault's.
    if (group && !begun_.insert({*group, site, image}).second) {
      errors_.add(row[*group_column_].where,
                  "fault " + std::to_string(*group) +
                      " has rows above, and other faults' between; the rows of one fault follow "
                      "one another");
    }
    faults_.push_back({site, image, {edit}});
    group_ = group;
    return;
  }
  ListedFault& fault = faults_.back();
  if (fault.site != site || fault.image != image) {
    const Column column = fault.site != site ? kSiteColumn : kImageColumn;
    errors_.add(field(row, column).where, "fault " + std::to_string(*group) +
                                              " continues at another " + kColumnNames[column] +
                                              "; the rows of one fault share their site and image");
    return;
  }
  fault.edits.push_back(edit);
}

std::optional<Target> FaultListReader::read_target(const CsvField& field) {
  if (const auto target = named<Target>(field.text, kTargetNames)) return target;
  errors_.add(field.where,
              "target must be activation, weight or input, found " + shown(field.text));
  return std::nullopt;
}

std::optional<std::int32_t> FaultListReader::read_site(const CsvField& field, Target target) {
  const NumberOf& numbers = site_numbers_[static_cast<std::size_t>(target)];
  const auto found = numbers.find(field.text);
  if (found != numbers.end()) {
    const Site& site = sites_[static_cast<std::size_t>(found->second)];
    if (site.refusal.empty()) return found->second;
    errors_.add(field.where, "site '" + site.name + "' cannot be hit: " + site.refusal);
    return std::nullopt;
  }
  std::string hint;
  if (!errors_.full()) {
    std::vector<std::string> names;
    for (const Site& site : sites_) {
      if (site.target == target) names.push_back(site.name);
    }
    hint = did_you_mean(field.text, names);
  }
  errors_.add(field.where, std::string("the model has no ") + to_string(target) + " site " +
                               shown(field.text) + (hint.empty() ? "" : "; " + hint));
  return std::nullopt;
}

std::optional<std::int32_t> FaultListReader::read_image(const CsvField& field) {
  const std::int32_t image = dataset_.find(field.text);
  if (image >= 0) return image;
  std::string hint;
  if (!errors_.full()) {
    std::vector<std::string> names;
    names.reserve(static_cast<std::size_t>(dataset_.size()));
    for (std::int32_t i = 0; i < dataset_.size(); ++i) names.push_back(dataset_.name(i));
    hint = did_you_mean(field.text, names);
  }
  errors_.add(field.where, "the data have no image " + shown(field.text) +
                               (hint.empty() ? " (a path relative to the data folder, such as '" +
                                                   dataset_.name(0) + "')"
                                             : "; " + hint));
  return std::nullopt;
}

std::optional<std::int32_t> FaultListReader::read_register(const CsvField& field,
                                                           std::int32_t site) {
  const auto registers = formats_.of(site).registers();
  std::string names;
  for (std::size_t i = 0; i < registers.size(); ++i) {
    if (field.text == registers[i].name) return static_cast<std::int32_t>(i);
    names += (i ? ", '" : "'") + std::string(registers[i].name) + "'";
  }
  const bool learned = field.text == kBoundRegister;
  errors_.add(field.where,
              "the format has no register " + shown(field.text) + "; it has " + names +
                  (learned ? ": what a protection has learned is hit by drawn faults alone, with "
                             "exposed = true, as a list is also for the run without it"
                           : ""));
  return std::nullopt;
}

std::optional<EditOperation> FaultListReader::read_operation(const CsvField& field) {
  if (const auto op = named<EditOperation>(field.text, kEditOperationNames)) return op;
  errors_.add(field.where, "op must be flip, set, clear, write, value, add or multiply, found " +
                               shown(field.text));
  return std::nullopt;
}

std::optional<std::int64_t> FaultListReader::read_number(const CsvField& field, const char* what) {
  std::int64_t value = 0;
  const char* end = field.text.data() + field.text.size();
  const auto [stop, status] = std::from_chars(field.text.data(), end, value);
  if (status == std::errc::result_out_of_range && stop == end) {
    errors_.add(field.where, std::string(what) + " " + shown(field.text) + " is too large");
  } else if (status != std::errc() || stop != end || value < 0) {
    errors_.add(field.where, std::string(what) + " must be a whole number from 0 on, found " +
                                 shown(field.text));
  } else {
    return value;
  }
  return std::nullopt;
}

std::optional<std::uint32_t> FaultListReader::read_mask(const CsvField& field) {
  std::string_view digits = field.text;
  if (digits.starts_with("0x") || digits.starts_with("0X")) digits.remove_prefix(2);
  std::uint32_t value = 0;
  const char* end = digits.data() + digits.size();
  const auto [stop, status] = std::from_chars(digits.data(), end, value, 16);
  if (status == std::errc::result_out_of_range && stop == end) {
    errors_.add(field.where, "mask " + shown(field.text) + " does not fit in 32 bits");
  } else if (status != std::errc() || stop != end) {
    errors_.add(field.where,
                "mask must be hexadecimal, such as 0x4000, found " + shown(field.text));
  } else {
    return value;
  }
  return std::nullopt;
}

const std::vector<SiteRegister>& FaultListReader::registers_of(std::int32_t site) {
  auto& registers = site_registers_[static_cast<std::size_t>(site)];
  if (registers.empty()) {
    registers = site_registers(sites_[static_cast<std::size_t>(site)], formats_.of(site));
  }
  return registers;
}

bool FaultListReader::check_edit(const Row& row, std::int32_t site, const Edit& edit) {
  const SiteRegister& place = registers_of(site)[static_cast<std::size_t>(edit.register_index)];
  const std::string name = std::string("'") + place.name + "'";
  bool good = true;
  const auto refuse = [&](Column column, const std::string& message) {
    errors_.add(field(row, column).where, message);
    good = false;
  };
  if (edit.element >= place.count) {
    const std::string& site_name = sites_[static_cast<std::size_t>(site)].name;
    refuse(kElementColumn,
           "element " + std::to_string(edit.element) + " is outside site '" + site_name + "': " +
               (place.count ? "register " + name + " has 0 to " + std::to_string(place.count - 1)
                            : "it has no register " + name));
  }
  if (is_real(edit.operation)) {
    if (edit.register_index != 0) {
      refuse(kOpColumn, std::string("op '") + to_string(edit.operation) +
                            "' is for the payload, not for register " + name);
    }
    return good;
  }
  if (place.bits < 32 && edit.mask >> place.bits != 0) {
    refuse(kMaskColumn, "mask " + hex(edit.mask) + " is wider than register " + name + " of " +
                            std::to_string(place.bits) + " bits");
  }
  return good;
}

}  // namespace

std::uint32_t mask_column(const Edit& edit) {
  return is_real(edit.operation) ? std::bit_cast<std::uint32_t>(edit.value) : edit.mask;
}

std::vector<ListedFault> read_fault_list(const std::filesystem::path& path, std::string_view text,
                                         std::span<const Site> sites, const Dataset& dataset,
                                         const SiteFormats& formats) {
  return FaultListReader(path, text, sites, dataset, formats).read();
}

std::string csv_field(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(text);
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

void write_fault_header(std::ostream& out) { out << kHeader << '\n'; }

void write_fault_row(std::ostream& out, std::int64_t fault, const Site& site,
                     const std::string& image, const Edit& edit, std::string_view register_name) {
  out << fault << ',' << csv_field(site.name) << ',' << csv_field(image) << ','
      << to_string(site.target) << ',' << edit.element << ',' << csv_field(register_name) << ','
      << to_string(edit.operation) << ',' << hex(mask_column(edit)) << '\n';
}

std::vector<SiteRegister> site_registers(const Site& site, const NumberFormat& format) {
  const auto kinds = format.registers();
  std::vector<SiteRegister> registers;
  for (std::size_t i = 0; i < kinds.size(); ++i) {
    const std::int64_t count =
        i == 0 ? site.values : format.register_count(static_cast<int>(i), site.shape);
    registers.push_back({kinds[i].name, kinds[i].bits, count, kinds[i].bit_classes});
  }
  return registers;
}

float largest_number(const NumberFormat& format, std::span<const std::int64_t> shape) {
  std::vector<std::uint32_t> metadata(static_cast<std::size_t>(metadata_size(format, shape)));
  if (!metadata.empty() && !format.calibrated()) {
    const std::vector<float> values(static_cast<std::size_t>(element_count(shape)),
                                    std::numeric_limits<float>::max());
    std::vector<std::uint32_t> codes(values.size());
    format.encode(values, {shape, 0, 1, 0}, metadata, codes);
  }
  return format.largest(metadata);
}

}  // namespace bitfall
