// Python's pickles as data. Calls are kept as what they would call and with what: nothing is ever
// called, so a hostile file can do no more than be refused.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace bitfall {

/// A value of a pickle; others are named by their place in Pickle::values, so that values that hold
/// each other or themselves are no trouble.
struct PickleValue {
  enum Kind {
    kOther,       // None, a float, a set, an object: nothing that we look into
    kInteger,     // number; a bool is one too
    kText,        // text
    kBytes,       // a string of bytes, and Python 2's of characters: bytes [begin, begin + size)
    kSequence,    // a tuple or list of `items`
    kDictionary,  // `items` are key, value, key, value, ...
    kGlobal,      // text = "module name"
    kCall,        // items[0](*items[1]), with the state items[2] if it was given one
    kPersistent,  // items[0] is what stands for an object outside the pickle
  };
  Kind kind = kOther;
  std::int64_t number = 0;
  std::string text;
  std::vector<std::uint32_t> items;
  std::uint64_t begin = 0, size = 0;  // in what was read
};

struct Pickle {
  std::vector<PickleValue> values;
  std::uint32_t root = 0;

  const PickleValue& operator[](std::uint32_t place) const { return values[place]; }
};

/// Reads protocols 2 to 5. Throws std::invalid_argument, a clause that says what is wrong with the
/// pickle.
Pickle read_pickle(std::string_view bytes);

}  // namespace bitfall
