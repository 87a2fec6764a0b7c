#include "pytorch_file.h"

#include <array>
#include <map>
#include <stdexcept>
#include <utility>

#include "error.h"
#include "pickle.h"
#include "zip_archive.h"

namespace bitfall {
namespace {

/// The function that a tensor's pickle would call, with (storage, offset, shape, strides, ...).
constexpr std::string_view kRebuildTensor = "torch._utils _rebuild_tensor_v2";
constexpr std::string_view kRebuildParameter = "torch._utils _rebuild_parameter";

std::string type_name(const std::string& storage) {
  static constexpr std::array<std::pair<std::string_view, const char*>, 4> kNames{
      {{"torch FloatStorage", "float32"},
       {"torch DoubleStorage", "float64"},
       {"torch HalfStorage", "float16"},
       {"torch BFloat16Storage", "bfloat16"}}};
  for (const auto& [theirs, ours] : kNames) {
    if (storage == theirs) return ours;
  }
  return storage;
}

class TensorWalk {
 public:
  TensorWalk(const ZipArchive& archive, std::string folder, const Pickle& pickle)
      : archive_(archive),
        folder_(std::move(folder)),
        pickle_(pickle),
        seen_(pickle.values.size()) {}

  /// Throws std::invalid_argument.
  std::vector<StoredTensor> tensors() {
    visit("", pickle_.root);
    // By hand, as a pickle may nest deeper than a stack of calls.
    while (!waiting_.empty()) {
      const auto [name, place] = std::move(waiting_.back());
      waiting_.pop_back();
      look_into(name, place);
    }
    return std::move(found_);
  }

 private:
  void visit(const std::string& name, std::uint32_t place) {
    const PickleValue::Kind kind = pickle_[place].kind;
    if (kind != PickleValue::kSequence && kind != PickleValue::kDictionary &&
        kind != PickleValue::kCall) {
      return;
    }
    if (waiting_.size() == kMostTensors) throw std::invalid_argument("holds too many tensors");
    waiting_.emplace_back(name, place);
  }

  /// What holds others is looked into once, by its first name: it may hold itself. A tensor may
  /// have many names, as tied weights do.
  void look_into(const std::string& name, std::uint32_t place) {
    const PickleValue& value = pickle_[place];
    if (value.kind != PickleValue::kCall && seen_[place]) return;
    seen_[place] = true;
    const std::string prefix = name.empty() ? "" : name + ".";
    const auto& items = value.items;
    if (prefix.size() > kLongestName) throw std::invalid_argument("is nested too deeply");
    switch (value.kind) {
      case PickleValue::kSequence:
        for (std::size_t i = items.size(); i-- > 0;) visit(prefix + std::to_string(i), items[i]);
        break;
      case PickleValue::kDictionary:
        for (std::size_t i = items.size(); i > 0; i -= 2) {
          const PickleValue& key = pickle_[items[i - 2]];
          if (key.kind != PickleValue::kText) continue;
          if (key.text.size() > kLongestName) throw std::invalid_argument("has too long a name");
          visit(prefix + key.text, items[i - 1]);
        }
        break;
      case PickleValue::kCall:
        if (pickle_[items[0]].text == kRebuildTensor) {
          add(name, place, value);
        } else if (pickle_[items[0]].text == kRebuildParameter) {
          const std::uint32_t inner = item(pickle_[items[1]], 0);
          if (is_call(inner, kRebuildTensor)) add(name, inner, pickle_[inner]);
        }
        break;
      default:
        break;
    }
  }

  bool is_call(std::uint32_t place, std::string_view function) const {
    const PickleValue& value = pickle_[place];
    return value.kind == PickleValue::kCall && pickle_[value.items[0]].text == function;
  }

  void add(const std::string& name, std::uint32_t place, const PickleValue& call) {
    if (found_.size() == kMostTensors) throw std::invalid_argument("holds too many tensors");
    const auto [known, is_new] = tensors_.try_emplace(place, found_.size());
    found_.push_back(is_new ? tensor(pickle_[call.items[1]]) : found_[known->second]);
    found_.back().name = name;
  }

  std::uint32_t item(const PickleValue& value, std::size_t index) const {
    if (value.kind != PickleValue::kSequence || index >= value.items.size()) malformed();
    return value.items[index];
  }
  const PickleValue& item(const PickleValue& value, std::size_t index,
                          PickleValue::Kind kind) const {
    const PickleValue& found = pickle_[item(value, index)];
    if (found.kind != kind) malformed();
    return found;
  }
  std::int64_t count(const PickleValue& value, std::size_t index) const {
    const std::int64_t number = item(value, index, PickleValue::kInteger).number;
    if (number < 0) malformed();
    return number;
  }
  /// Many tensors may share one shape in the file, and each gets a copy here.
  std::vector<std::int64_t> dimensions(const PickleValue& value) const {
    if (value.items.size() > kMostDimensions) {
      throw std::invalid_argument("holds a tensor of " + std::to_string(value.items.size()) +
                                  " dimensions; NumPy and this program know at most " +
                                  std::to_string(kMostDimensions));
    }
    std::vector<std::int64_t> numbers;
    for (std::size_t i = 0; i < value.items.size(); ++i) numbers.push_back(count(value, i));
    return numbers;
  }
  [[noreturn]] static void malformed() {
    throw std::invalid_argument("the description of a tensor is malformed");
  }

  StoredTensor tensor(const PickleValue& arguments) const {
    const PickleValue& id = item(arguments, 0, PickleValue::kPersistent);
    const PickleValue& storage = pickle_[id.items[0]];
    StoredTensor result;
    result.type = type_name(item(storage, 1, PickleValue::kGlobal).text);
    result.shape = dimensions(item(arguments, 2, PickleValue::kSequence));
    result.strides = dimensions(item(arguments, 3, PickleValue::kSequence));
    if (result.shape.size() != result.strides.size()) malformed();
    if (float_size(result.type) == 0) return result;  // refused if it is asked for
    const auto offset = static_cast<std::uint64_t>(count(arguments, 1));
    const std::string& key = item(storage, 2, PickleValue::kText).text;
    result.bytes = archive_.read(folder_ + "data/" + key);
    if (offset > result.bytes.size() / float_size(result.type)) malformed();
    result.bytes.remove_prefix(offset * float_size(result.type));
    return result;
  }

  static constexpr std::size_t kLongestName = 1000;
  static constexpr std::size_t kMostDimensions = 64;
  static constexpr std::size_t kMostTensors = 1'000'000;
  const ZipArchive& archive_;
  std::string folder_;
  const Pickle& pickle_;
  std::vector<bool> seen_;
  std::vector<std::pair<std::string, std::uint32_t>> waiting_;
  std::vector<StoredTensor> found_;
  std::map<std::uint32_t, std::size_t> tensors_;  // by place: the first of them in found_
};

}  // namespace

std::vector<StoredTensor> pytorch_tensors(const std::string& path, std::string_view content) {
  const auto fail = [&path](const std::string& what) {
    throw Error(ExitCode::kInput, path + ": " + what);
  };
  if (!content.starts_with("PK")) {
    fail("is not what torch.save writes since PyTorch 1.6; load it there and save it again");
  }
  const ZipArchive archive(path, content);
  const std::string record = archive.find("/data.pkl");
  if (record.empty()) fail("holds no data.pkl, so it is not what torch.save writes");
  const std::string folder = record.substr(0, record.rfind('/') + 1);
  if (archive.has(folder + "constants.pkl")) {
    fail("is a TorchScript model, not tensors that torch.save wrote");
  }
  if (archive.has(folder + "byteorder") && archive.read(folder + "byteorder") != "little") {
    fail("was written on a big-endian machine; save it again on a little-endian one");
  }
  try {
    return TensorWalk(archive, folder, read_pickle(archive.read(record))).tensors();
  } catch (const std::invalid_argument& problem) {
    fail(problem.what());
    throw;
  }
}

}  // namespace bitfall
