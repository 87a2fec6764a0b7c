#include "foreign_faults.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <ostream>
#include <set>
#include <stdexcept>
#include <utility>

#include "csv.h"
#include "error.h"
#include "foreign_layers.h"
#include "json_file.h"
#include "numbers.h"
#include "pickle.h"
#include "words.h"

namespace bitfall {
namespace {

constexpr int kBits = 32;  // these tools edit float32

Edit flip(std::int64_t element, std::uint32_t mask) {
  return {element, 0, EditOperation::kFlip, mask, 0};
}
Edit store(std::int64_t element, double value) {
  return {element, 0, EditOperation::kValue, 0, static_cast<float>(value)};
}

/// What the readers of all tools share: a fault is added, or left out with a reason.
class Collector {
 public:
  Collector(std::span<const Site> sites, std::span<const NamedShape> parameters,
            const ForeignOptions& options)
      : layers(sites, parameters, options.layers), options(options) {}

  const ForeignLayers layers;
  const ForeignOptions options;
  ForeignFaults found;

  void leave_out(std::string row, std::string reason) {
    found.left_out.push_back({std::move(row), std::move(reason)});
  }

  /// Adds to the fault before where that is of the same group (image and declaration).
  void add(const std::string& row, const OrReason<std::int32_t>& site,
           std::span<const std::int64_t> place, std::int64_t image, Edit edit, bool same_fault) {
    if (const auto* reason = std::get_if<std::string>(&site)) return leave_out(row, *reason);
    const std::int32_t index = std::get<std::int32_t>(site);
    const auto element = layers.element(index, place);
    if (const auto* reason = std::get_if<std::string>(&element)) return leave_out(row, *reason);
    edit.element = std::get<std::int64_t>(element);
    if (!same_fault || found.faults.empty()) {
      found.faults.push_back({row, index, image, {edit}});
      return;
    }
    ForeignFault& fault = found.faults.back();
    if (fault.site != index) {
      return leave_out(row, "hits '" + layers.site(index).name + "' together with '" +
                                layers.site(fault.site).name + "' of " + fault.row +
                                "; a fault here has one site");
    }
    fault.edits.push_back(edit);
  }
};

// CSV
// -----------------------------------------------------------------------------------------------

using Row = std::vector<CsvField>;

class Table {
 public:
  Table(const std::filesystem::path& path, std::string_view text) : path_(path), rows_(text) {
    const Row* header = rows_.next();
    check();
    if (header == nullptr) throw Error(ExitCode::kInput, path.string() + ": is empty");
    for (const CsvField& field : *header) columns_.try_emplace(field.text, columns_.size());
    width_ = header->size();
  }

  bool has(const std::string& column) const { return columns_.contains(column); }
  bool next() {
    row_ = rows_.next();
    check();
    return row_ != nullptr;
  }
  std::string place() const { return "line " + std::to_string(row_->front().where.line); }
  /// Empty where the row ends before it, or there is no such column.
  std::string text(const std::string& column) const {
    const auto found = columns_.find(column);
    if (found == columns_.end() || found->second >= row_->size()) return "";
    return std::string(trimmed((*row_)[found->second].text));
  }
  /// pandas writes whole numbers as 3.0 where others of the column are missing.
  std::optional<std::int64_t> integer(const std::string& column) const {
    std::string number = text(column);
    if (number.ends_with(".0")) number.resize(number.size() - 2);
    return parse_integer(number);
  }
  bool whole() const { return row_->size() == width_; }

 private:
  void check() const {
    if (!rows_.problem()) return;
    const auto& [where, message] = *rows_.problem();
    throw Error(ExitCode::kInput, path_.string() + ":" + std::to_string(where.line) + ":" +
                                      std::to_string(where.column) + ": " + message);
  }

  std::filesystem::path path_;
  CsvReader rows_;
  const Row* row_ = nullptr;
  std::map<std::string, std::size_t> columns_;
  std::size_t width_ = 0;
};

void read_polito(Table& table, Collector& to) {
  to.found.tool = "PolitO's dnn-benchmarks";
  while (table.next()) {
    const std::string row = table.place();
    std::string index = table.text("TensorIndex");
    if (index.starts_with('(') && index.ends_with(')')) {
      index = "[" + index.substr(1, index.size() - 2) + "]";
    }
    const auto place = parse_integers(index);
    const auto bit = table.integer("Bit");
    if (!place) {
      to.leave_out(row,
                   "TensorIndex '" + table.text("TensorIndex") + "' is not a tuple of numbers");
    } else if (!bit || *bit < 0 || *bit >= kBits) {
      to.leave_out(row, "Bit '" + table.text("Bit") + "' is not a bit of a float32, 0 to 31");
    } else {
      to.add(row, to.layers.weight_of(table.text("Layer")), *place, -1,
             flip(0, std::uint32_t{1} << *bit), false);
    }
  }
}

/// The numbers of columns, up to the first that is empty. Nothing where one is not a number.
std::optional<std::vector<std::int64_t>> numbers_of(const Table& table,
                                                    std::span<const char* const> columns) {
  std::vector<std::int64_t> place;
  for (const char* column : columns) {
    const std::string text = table.text(column);
    if (text.empty() || text == "None" || text == "nan") break;
    const auto number = table.integer(column);
    if (!number) return std::nullopt;
    place.push_back(*number);
  }
  return place;
}

void read_xpytorchfi(Table& table, Collector& to) {
  to.found.tool = "xPytorchFI";
  static constexpr std::array kPlace = {"kernel", "channel", "row", "col"};
  while (table.next()) {
    const std::string row = table.place();
    const auto layer = table.integer("layer");
    const auto mask = table.integer("bitmask");
    const auto place = numbers_of(table, kPlace);
    if (!layer || !place) {
      to.leave_out(row, "layer, kernel, channel, row and col are not all whole numbers");
    } else if (!mask || *mask <= 0 || *mask > 0xFFFFFFFFLL) {
      to.leave_out(row, "bitmask '" + table.text("bitmask") + "' is not one of 32 bits");
    } else {
      to.add(row, to.layers.numbered(Target::kWeight, *layer), *place, -1,
             flip(0, static_cast<std::uint32_t>(*mask)), false);
    }
  }
}

/// A declaration's lists as columns: a row is a fault.
void read_pytorchfi_table(Table& table, Collector& to) {
  to.found.tool = "PyTorchFI";
  const bool weights = table.has("k");
  static constexpr std::array kWeight = {"k", "dim1", "dim2", "dim3"};
  const auto columns = std::span(kWeight).subspan(weights ? 0 : 1);
  while (table.next()) {
    const std::string row = table.place();
    const auto layer = table.integer("layer_num");
    const auto value = parse_number(table.text("value"));
    const auto place = numbers_of(table, columns);
    const auto image = weights ? std::optional<std::int64_t>(-1) : table.integer("batch");
    if (!layer || !place || !image) {
      to.leave_out(row, "batch or k, layer_num and dim1 to dim3 are not all whole numbers");
    } else if (!value) {
      to.leave_out(row, "value '" + table.text("value") + "' is not a number");
    } else {
      const auto site = to.layers.numbered(weights ? Target::kWeight : Target::kActivation, *layer);
      to.add(row, site, *place, *image, store(0, *value), false);
    }
  }
}

// JSON
// ----------------------------------------------------------------------------------------------

using Json = nlohmann::ordered_json;

/// One declaration: lists of one length, whose faults are there at once.
class Declaration {
 public:
  Declaration(const Json& lists, std::string name) : lists_(lists), name_(std::move(name)) {}

  void add_to(Collector& to) const {
    if (lists_.contains("function")) {
      return to.leave_out(name_, "function= is any Python in a hook; use an error model");
    }
    const bool weights = lists_.contains("k");
    const std::size_t count = length();
    std::map<std::int64_t, std::vector<std::size_t>> images;  // faults of one image meet it at once
    for (std::size_t i = 0; i < count; ++i) {
      const auto image = weights ? std::optional<std::int64_t>(-1) : integer("batch", i);
      image ? images[*image].push_back(i)
            : to.leave_out(row(i), "batch is not a list of whole numbers");
    }
    for (const auto& [image, faults] : images) {
      bool more = false;
      for (const std::size_t i : faults) more |= add(to, i, image, weights, more);
    }
  }

 private:
  std::string row(std::size_t i) const { return name_ + ", fault " + std::to_string(i); }

  std::size_t length() const {
    const auto layers = lists_.find("layer_num");
    return layers != lists_.end() && layers->is_array() ? layers->size() : 0;
  }
  const Json* item(const char* list, std::size_t i) const {
    const auto found = lists_.find(list);
    if (found == lists_.end() || !found->is_array() || i >= found->size()) return nullptr;
    return &(*found)[i];
  }
  std::optional<std::int64_t> integer(const char* list, std::size_t i) const {
    const Json* found = item(list, i);
    if (found == nullptr || !found->is_number_integer()) return std::nullopt;
    return found->get<std::int64_t>();
  }

  bool add(Collector& to, std::size_t i, std::int64_t image, bool weights, bool more) const {
    std::vector<std::int64_t> place;
    for (const char* list : {"k", "dim1", "dim2", "dim3"}) {
      if (!weights && std::string_view(list) == "k") continue;
      const auto index = integer(list, i);
      if (!index) break;  // None: a layer of fewer dimensions
      place.push_back(*index);
    }
    const auto layer = integer("layer_num", i);
    const Json* value = item("value", i);
    if (!layer || value == nullptr || !value->is_number()) {
      to.leave_out(row(i), "layer_num and value do not both have a number for it");
      return false;
    }
    const auto target = weights ? Target::kWeight : Target::kActivation;
    const auto site = to.layers.numbered(target, *layer);
    // PyTorchFI ignores dimensions that an output does not have.
    if (const auto* index = std::get_if<std::int32_t>(&site); index != nullptr && !weights) {
      place.resize(std::min(place.size(), to.layers.site(*index).shape.size()));
    }
    const std::size_t before = to.found.left_out.size();
    to.add(row(i), site, place, image, store(0, value->get<double>()), more);
    return to.found.left_out.size() == before;
  }

  const Json& lists_;
  std::string name_;
};

void read_faultforge(const Json& document, Collector& to) {
  to.found.tool = "FaultForge";
  const Json& result = document.at("result");
  const auto runs = result.find("results");
  const std::size_t count = runs != result.end() && runs->is_array() ? runs->size() : 0;
  for (std::size_t i = 0; i < count; ++i) {
    const Json& run = (*runs)[i];
    const std::size_t masks =
        run.is_object() && run.contains("bitmask") ? run["bitmask"].size() : 0;
    to.leave_out("run " + std::to_string(i),
                 masks > 0 ? "holds by which bits " + std::to_string(masks) +
                                 " parameters differ, and not which parameters these are"
                           : "holds how many answers were correct, and not which bits were hit");
  }
}

void read_json_faults(const std::filesystem::path& path, std::string_view text, Collector& to) {
  const Json document = parse_json(path, text);
  if (document.is_object() && document.contains("fingerprint") && document.contains("result")) {
    return read_faultforge(document, to);
  }
  to.found.tool = "PyTorchFI";
  const auto is_declaration = [](const Json& value) {
    return value.is_object() && (value.contains("layer_num") || value.contains("function"));
  };
  if (is_declaration(document)) return Declaration(document, "declaration 0").add_to(to);
  if (!document.is_array() || !std::all_of(document.begin(), document.end(), is_declaration)) {
    throw Error(
        ExitCode::kInput,
        path.string() +
            ": is neither a result of FaultForge (fingerprint, result) nor the lists of "
            "PyTorchFI's declarations (layer_num, dim1, dim2, dim3, value, and batch or k)");
  }
  for (std::size_t i = 0; i < document.size(); ++i) {
    Declaration(document[i], "declaration " + std::to_string(i)).add_to(to);
  }
}

// PyTorchALFI's arrays
// ------------------------------------------------------------------------------

/// A pickled NumPy array of two dimensions. Throws std::invalid_argument.
class PickledArray {
 public:
  explicit PickledArray(std::string_view bytes) : bytes_(bytes), pickle_(read_pickle(bytes)) {
    const PickleValue& root = pickle_[pickle_.root];
    const std::string function = root.kind == PickleValue::kCall ? pickle_[root.items[0]].text : "";
    if (function.ends_with("multiarray _reconstruct") && root.items.size() == 3) {
      const PickleValue& state = sequence(root.items[2], 5);
      describe(state.items[1], state.items[2], state.items[4]);
      fortran_ = pickle_[state.items[3]].number != 0;
    } else if (function.ends_with("numeric _frombuffer")) {
      const PickleValue& arguments = sequence(root.items[1], 4);
      describe(arguments.items[2], arguments.items[1], arguments.items[0]);
      fortran_ = pickle_[arguments.items[3]].text == "F";
    } else {
      throw std::invalid_argument("the pickle holds no NumPy array");
    }
    if (data_.size() !=
        static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns) * width_) {
      throw std::invalid_argument("the array in the pickle is cut off");
    }
  }

  std::int64_t rows = 0, columns = 0;

  double at(std::int64_t row, std::int64_t column) const {
    const std::int64_t place = fortran_ ? column * rows + row : row * columns + column;
    const char* from = data_.data() + static_cast<std::size_t>(place) * width_;
    if (floating_) return width_ == 4 ? load<float>(from) : load<double>(from);
    return width_ == 4 ? load<std::int32_t>(from) : static_cast<double>(load<std::int64_t>(from));
  }

 private:
  template <typename T>
  static T load(const char* from) {
    T value;
    std::memcpy(&value, from, sizeof value);
    return value;
  }
  const PickleValue& sequence(std::uint32_t place, std::size_t least) const {
    const PickleValue& value = pickle_[place];
    if (value.kind == PickleValue::kSequence && value.items.size() >= least) return value;
    throw std::invalid_argument("the array in the pickle is malformed");
  }
  void describe(std::uint32_t shape, std::uint32_t type, std::uint32_t data) {
    const PickleValue& sizes = sequence(shape, 0);
    if (sizes.items.size() != 2) throw std::invalid_argument("the array has not two dimensions");
    rows = pickle_[sizes.items[0]].number;
    columns = pickle_[sizes.items[1]].number;
    constexpr std::int64_t kMost = std::int64_t{1} << 30;
    if (rows < 0 || columns < 0 || rows > kMost || columns > kMost) {
      throw std::invalid_argument("the array in the pickle is malformed");
    }
    const PickleValue& made = pickle_[type];
    std::string name;
    if (made.kind == PickleValue::kCall) name = pickle_[sequence(made.items[1], 1).items[0]].text;
    if (name != "i8" && name != "f8" && name != "i4" && name != "f4") {
      throw std::invalid_argument("the array holds '" + name + "', not int32, int64 or floats");
    }
    floating_ = name[0] == 'f';
    width_ = name[1] == '8' ? 8 : 4;
    const PickleValue& content = pickle_[data];
    if (content.kind != PickleValue::kBytes) {
      throw std::invalid_argument("the array in the pickle is malformed");
    }
    data_ = bytes_.substr(content.begin, content.size);
  }

  std::string_view bytes_, data_;
  Pickle pickle_;
  std::size_t width_ = 8;
  bool floating_ = false, fortran_ = false;
};

constexpr std::int64_t kValueRow = 6;  // the rows: batch, layer, channel, depth, height, width,
                                       // value (of weights: layer, filter, channel, ...)

/// -1 where it is no whole number that an index can be.
std::int64_t whole(double number) {
  constexpr double kMost = 1e15;
  return number >= 0 && number < kMost ? static_cast<std::int64_t>(number) : -1;
}

/// The place of a column in the site's value, and for outputs of a linear layer the row of the
/// batch, which PyTorchALFI has in the place of a height.
std::vector<std::int64_t> alfi_place(const PickledArray& array, std::int64_t column, Target target,
                                     std::size_t dimensions, std::int64_t& image) {
  std::vector<std::int64_t> place;
  for (std::int64_t row = target == Target::kWeight ? 1 : 2; row < kValueRow; ++row) {
    const std::int64_t index = whole(array.at(row, column));
    if (index >= 0) place.push_back(index);
  }
  if (target == Target::kActivation && dimensions == 1 && place.size() == 2) {
    image = place.front();
    place.erase(place.begin());
  }
  return place;
}

void add_alfi_column(const PickledArray& array, std::int64_t column, Target target, Collector& to) {
  const ForeignOptions& options = to.options;
  const std::string row = "column " + std::to_string(column);
  const double value = array.at(kValueRow, column);
  Edit edit = store(0, value);
  if (!options.numbers) {
    if (!(value >= 0 && value < kBits) || value != static_cast<int>(value)) {
      return to.leave_out(row, "bit " + short_text(value) + " is not one of a float32, 0 to 31" +
                                   (value < 0 ? ": it was drawn when it was injected" : ""));
    }
    edit = flip(0, std::uint32_t{1} << (kBits - 1 - static_cast<int>(value)));  // 0 is the sign
  }
  const bool weights = target == Target::kWeight;
  const auto site = to.layers.numbered(target, whole(array.at(weights ? 0 : 1, column)));
  const auto* index = std::get_if<std::int32_t>(&site);
  std::int64_t image = weights ? 0 : whole(array.at(0, column));
  const auto place = alfi_place(array, column, target,
                                index != nullptr ? to.layers.site(*index).shape.size() : 0, image);
  const std::int64_t number = column / options.per_image;  // of the image, over all batches
  image = weights ? -1 : number / options.batch * options.batch + std::max<std::int64_t>(image, 0);
  const bool more = column % options.per_image > 0 && !to.found.faults.empty() &&
                    to.found.faults.back().image == image &&
                    to.found.faults.back().row.starts_with("column ");
  to.add(row, site, place, image, edit, more);
}

void read_alfi(const std::filesystem::path& path, std::string_view bytes, Collector& to) {
  to.found.tool = "PyTorchALFI";
  if (!to.options.target || *to.options.target == Target::kInput) {
    throw Error(ExitCode::kUsage,
                path.string() +
                    ": PyTorchALFI's files do not say what was hit (rnd_mode of "
                    "the scenario): give --target activation (neurons) or weight");
  }
  try {
    const PickledArray array(bytes);
    if (array.rows <= kValueRow) throw std::invalid_argument("the array has fewer than 7 rows");
    for (std::int64_t column = 0; column < array.columns; ++column) {
      add_alfi_column(array, column, *to.options.target, to);
    }
  } catch (const std::invalid_argument& error) {
    throw Error(ExitCode::kInput, path.string() + ": " + error.what());
  }
}

void read_table(const std::filesystem::path& path, std::string_view text, Collector& to) {
  Table table(path, text);
  if (table.has("Layer") && table.has("TensorIndex") && table.has("Bit")) {
    return read_polito(table, to);
  }
  if (table.has("layer") && table.has("bitmask")) return read_xpytorchfi(table, to);
  if (table.has("layer_num") && table.has("value")) return read_pytorchfi_table(table, to);
  throw Error(ExitCode::kInput,
              path.string() +
                  ":1: the columns are those of no tool that is known: PolitO has "
                  "Injection,Layer,TensorIndex,Bit, xPytorchFI layer,kernel,channel,row,col,"
                  "bitmask, PyTorchFI layer_num,dim1,dim2,dim3,value with batch or k");
}

/// "(3, 0, 2, 1)"
std::string tensor_index(const Site& site, std::int64_t element) {
  std::vector<std::string> words(site.shape.size());
  for (std::size_t i = site.shape.size(); i-- > 0;) {
    words[i] = std::to_string(element % site.shape[i]);
    element /= site.shape[i];
  }
  return "(" + joined(words) + (words.size() == 1 ? ",)" : ")");
}

}  // namespace

ForeignFaults read_foreign_faults(const std::filesystem::path& path, std::string_view bytes,
                                  std::span<const Site> sites,
                                  std::span<const NamedShape> parameters,
                                  const ForeignOptions& options) {
  Collector to(sites, parameters, options);
  const std::string_view start = trimmed(bytes.substr(0, std::min<std::size_t>(bytes.size(), 64)));
  if (bytes.starts_with('\x80')) {
    read_alfi(path, bytes, to);
  } else if (bytes.starts_with("\x28\xB5\x2F\xFD")) {
    throw Error(ExitCode::kInput, path.string() + ": is compressed; unpack it first: zstd -d " +
                                      shell_word(path.string()));
  } else if (start.starts_with('{') || start.starts_with('[')) {
    read_json_faults(path, bytes, to);
  } else {
    read_table(path, bytes, to);
  }
  return std::move(to.found);
}

bool PolitoList::add(const TrialResult& trial) {
  const Site& site = sites_[static_cast<std::size_t>(trial.site)];
  if (site.target != Target::kWeight || !site.name.ends_with(".weight") ||
      trial.edits.size() != 1) {
    return false;
  }
  const Edit& edit = trial.edits.front().edit;
  if (edit.operation != EditOperation::kFlip || edit.register_index != 0 ||
      std::popcount(edit.mask) != 1) {
    return false;
  }
  const Key key{trial.site, edit.element, std::countr_zero(edit.mask)};
  const auto [known, fresh] = numbers_.try_emplace(key, counts_.size());
  if (fresh) {
    counts_.emplace_back();
    keys_.push_back(key);
  }
  Counts& counts = counts_[known->second];
  if (trial.outcome == Outcome::kMasked) {
    ++counts.masked;
  } else {
    ++(is_mismatch(trial) || is_due(trial.outcome) ? counts.critical : counts.non_critical);
  }
  return true;
}

void PolitoList::write(std::ostream& out) const {
  out << "Injection,Layer,TensorIndex,Bit,n_injections,masked,non_critical,critical\n";
  for (std::size_t i = 0; i < keys_.size(); ++i) {
    const auto& [number, element, bit] = keys_[i];
    const Site& site = sites_[static_cast<std::size_t>(number)];
    const Counts& counts = counts_[i];
    const std::string layer = site.name.substr(0, site.name.size() - std::string(".weight").size());
    out << i << ',' << csv_field(layer) << ',' << csv_field(tensor_index(site, element)) << ','
        << bit << ',' << counts.masked + counts.non_critical + counts.critical << ','
        << counts.masked << ',' << counts.non_critical << ',' << counts.critical << '\n';
  }
}

}  // namespace bitfall
