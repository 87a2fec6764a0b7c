// The machine that pickles are programs for is described in CPython's Lib/pickletools.py.
#include "pickle.h"

#include <cstring>
#include <stdexcept>
#include <unordered_map>
#include <utility>

namespace bitfall {
namespace {

constexpr std::size_t kMostValues = 1 << 20;  // a state_dict of thousands of tensors has a tenth

using Kind = PickleValue::Kind;

[[noreturn]] void refuse_pickle(const std::string& what) { throw std::invalid_argument(what); }

class PickleReader {
 public:
  explicit PickleReader(std::string_view bytes) : rest_(bytes), start_(bytes.data()) {}

  Pickle read() {
    while (step(take<std::uint8_t>())) {
    }
    result_.root = pop();
    return std::move(result_);
  }

 private:
  bool step(std::uint8_t code);
  bool step_constant(std::uint8_t code);
  bool step_memo(std::uint8_t code);
  bool step_collection(std::uint8_t code);
  bool step_object(std::uint8_t code);

  // The bytes.
  std::string_view take_bytes(std::uint64_t count) {
    if (count > rest_.size()) refuse_pickle("the pickle is cut off");
    const std::string_view bytes = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return bytes;
  }
  template <typename T>
  T take() {
    T value;
    std::memcpy(&value, take_bytes(sizeof value).data(), sizeof value);
    return value;
  }
  std::string take_line() {
    const auto end = rest_.find('\n');
    if (end == rest_.npos) refuse_pickle("the pickle is cut off");
    std::string line(take_bytes(end));
    take_bytes(1);
    return line;
  }
  std::int64_t take_long(std::uint64_t length) {
    const std::string_view bytes = take_bytes(length);
    if (length > 8) refuse_pickle("the pickle holds an integer beyond 64 bits");
    std::uint64_t value = !bytes.empty() && bytes.back() < 0 ? ~0ULL : 0;
    for (std::size_t i = bytes.size(); i-- > 0;) {
      value = value << 8 | static_cast<unsigned char>(bytes[i]);
    }
    return static_cast<std::int64_t>(value);
  }

  // The stack. A mark is a place below which pop() does not reach.
  std::uint32_t pop() {
    if (stack_.size() <= (marks_.empty() ? 0 : marks_.back()))
      refuse_pickle("the pickle is malformed");
    const std::uint32_t value = stack_.back();
    stack_.pop_back();
    return value;
  }
  PickleValue& top(Kind kind) {
    if (stack_.empty()) refuse_pickle("the pickle is malformed");
    PickleValue& value = result_.values[stack_.back()];
    // Items of an object of a class of its own are of no interest.
    if (value.kind != kind && value.kind != PickleValue::kOther &&
        value.kind != PickleValue::kCall) {
      refuse_pickle("the pickle is malformed");
    }
    return value;
  }
  std::vector<std::uint32_t> pop_to_mark() {
    if (marks_.empty()) refuse_pickle("the pickle is malformed");
    const auto first = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<std::uint32_t> items(first, stack_.end());
    stack_.erase(first, stack_.end());
    marks_.pop_back();
    return items;
  }
  bool push(PickleValue value) {
    if (result_.values.size() >= kMostValues) refuse_pickle("the pickle holds too many objects");
    stack_.push_back(static_cast<std::uint32_t>(result_.values.size()));
    result_.values.push_back(std::move(value));
    return true;
  }
  bool push_other() { return push({}); }
  bool push_integer(std::int64_t number) {
    return push({PickleValue::kInteger, number, {}, {}, 0, 0});
  }
  bool push_text(std::string_view text) {
    return push({PickleValue::kText, 0, std::string(text), {}, 0, 0});
  }
  bool push_bytes(std::string_view bytes) {
    return push({PickleValue::kBytes,
                 0,
                 {},
                 {},
                 static_cast<std::uint64_t>(bytes.data() - start_),
                 bytes.size()});
  }
  bool push_items(Kind kind, std::vector<std::uint32_t> items) {
    return push({kind, 0, {}, std::move(items), 0, 0});
  }
  bool push_tuple(int count) {
    std::vector<std::uint32_t> items(static_cast<std::size_t>(count));
    for (int i = count; i-- > 0;) items[static_cast<std::size_t>(i)] = pop();
    return push_items(PickleValue::kSequence, std::move(items));
  }
  bool append(Kind kind, const std::vector<std::uint32_t>& items) {
    PickleValue& value = top(kind);
    if (kind == PickleValue::kDictionary && items.size() % 2 != 0) {
      refuse_pickle("the pickle is malformed");
    }
    if (value.kind == kind) value.items.insert(value.items.end(), items.begin(), items.end());
    return true;
  }

  // The memo.
  bool put(std::uint32_t key) {
    if (stack_.empty()) refuse_pickle("the pickle is malformed");
    memo_[key] = stack_.back();
    return true;
  }
  bool get(std::uint32_t key) {
    const auto found = memo_.find(key);
    if (found == memo_.end()) refuse_pickle("the pickle is malformed");
    stack_.push_back(found->second);
    return true;
  }

  bool push_global(const std::string& module, const std::string& name) {
    return push({PickleValue::kGlobal, 0, module + " " + name, {}, 0, 0});
  }
  bool call() {
    const std::uint32_t arguments = pop();
    const std::uint32_t callee = pop();
    // The dictionary of a state_dict; its items follow.
    if (result_[callee].text == "collections OrderedDict") {
      return push_items(PickleValue::kDictionary, {});
    }
    return push_items(PickleValue::kCall, {callee, arguments});
  }

  bool build(std::uint32_t state) {
    if (stack_.empty()) refuse_pickle("the pickle is malformed");
    PickleValue& value = result_.values[stack_.back()];
    if (value.kind == PickleValue::kCall && value.items.size() == 2) value.items.push_back(state);
    return true;
  }

  std::string_view rest_;
  const char* start_;
  Pickle result_;
  std::vector<std::uint32_t> stack_;
  std::vector<std::size_t> marks_;
  std::unordered_map<std::uint32_t, std::uint32_t> memo_;
};

/// False at the end.
bool PickleReader::step(std::uint8_t code) {
  if (code == '.') return false;
  if (!step_constant(code) && !step_memo(code) && !step_collection(code) && !step_object(code)) {
    refuse_pickle("the pickle has an instruction that is not known (" + std::to_string(code) +
                  "); torch.save and NumPy write none such");
  }
  return true;
}

bool PickleReader::step_constant(std::uint8_t code) {
  switch (code) {
    case 0x80:  // PROTO
      return take<std::uint8_t>() <= 5 ||
             (refuse_pickle("the pickle is of a protocol beyond 5"), false);
    case 0x95:  // FRAME
      return take<std::uint64_t>(), true;
    case 'N':  // NONE
      return push_other();
    case 'G':  // BINFLOAT
      return take<double>(), push_other();
    case 0x88:  // NEWTRUE
    case 0x89:  // NEWFALSE
      return push_integer(code == 0x88);
    case 'K':  // BININT1
      return push_integer(take<std::uint8_t>());
    case 'M':  // BININT2
      return push_integer(take<std::uint16_t>());
    case 'J':  // BININT
      return push_integer(take<std::int32_t>());
    case 0x8a:  // LONG1
      return push_integer(take_long(take<std::uint8_t>()));
    case 0x8c:  // SHORT_BINUNICODE
      return push_text(take_bytes(take<std::uint8_t>()));
    case 'X':  // BINUNICODE
      return push_text(take_bytes(take<std::uint32_t>()));
    case 'U':  // SHORT_BINSTRING
    case 'C':  // SHORT_BINBYTES
      return push_bytes(take_bytes(take<std::uint8_t>()));
    case 'T':  // BINSTRING
    case 'B':  // BINBYTES
      return push_bytes(take_bytes(take<std::uint32_t>()));
    case 0x8e:  // BINBYTES8
    case 0x96:  // BYTEARRAY8
      return push_bytes(take_bytes(take<std::uint64_t>()));
    default:
      return false;
  }
}

bool PickleReader::step_memo(std::uint8_t code) {
  switch (code) {
    case 'q':  // BINPUT
      return put(take<std::uint8_t>());
    case 'r':  // LONG_BINPUT
      return put(take<std::uint32_t>());
    case 0x94:  // MEMOIZE
      return put(static_cast<std::uint32_t>(memo_.size()));
    case 'h':  // BINGET
      return get(take<std::uint8_t>());
    case 'j':  // LONG_BINGET
      return get(take<std::uint32_t>());
    default:
      return false;
  }
}

bool PickleReader::step_collection(std::uint8_t code) {
  switch (code) {
    case '(':  // MARK
      return marks_.push_back(stack_.size()), true;
    case ')':  // EMPTY_TUPLE
    case ']':  // EMPTY_LIST
      return push_items(PickleValue::kSequence, {});
    case '}':  // EMPTY_DICT
      return push_items(PickleValue::kDictionary, {});
    case 0x8f:  // EMPTY_SET
      return push_other();
    case 't':  // TUPLE
      return push_items(PickleValue::kSequence, pop_to_mark());
    case 0x85:  // TUPLE1, TUPLE2, TUPLE3
    case 0x86:
    case 0x87:
      return push_tuple(code - 0x84);
    case 'a': {  // APPEND
      const std::uint32_t item = pop();
      return append(PickleValue::kSequence, {item});
    }
    case 'e':     // APPENDS
    case 0x90: {  // ADDITEMS
      const auto items = pop_to_mark();
      return append(PickleValue::kSequence, items);
    }
    case 's': {  // SETITEM
      const std::uint32_t value = pop();
      const std::uint32_t key = pop();
      return append(PickleValue::kDictionary, {key, value});
    }
    case 'u': {  // SETITEMS
      const auto items = pop_to_mark();
      return append(PickleValue::kDictionary, items);
    }
    default:
      return false;
  }
}

bool PickleReader::step_object(std::uint8_t code) {
  switch (code) {
    case 'c': {  // GLOBAL
      const std::string module = take_line();
      return push_global(module, take_line());
    }
    case 0x93: {  // STACK_GLOBAL
      const std::uint32_t name = pop();
      const std::uint32_t module = pop();
      return push_global(result_[module].text, result_[name].text);
    }
    case 'R':  // REDUCE
      return call();
    case 0x81:  // NEWOBJ
      return pop(), pop(), push_other();
    case 0x92:  // NEWOBJ_EX
      return pop(), pop(), pop(), push_other();
    case 'b':  // BUILD: the object's state
      return build(pop());
    case 'Q':  // BINPERSID
      return push_items(PickleValue::kPersistent, {pop()});
    default:
      return false;
  }
}

}  // namespace

Pickle read_pickle(std::string_view bytes) { return PickleReader(bytes).read(); }

}  // namespace bitfall
