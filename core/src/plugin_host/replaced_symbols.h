// Functions of a library that its own calls do not reach, as the process has others of their names.
#pragma once

#include <string>
#include <vector>

namespace bitfall {

struct ReplacedSymbol {
  std::string name;     // "ddot_"
  std::string library;  // whose is called in its place: "libtorch_cpu.so"
};

/// Functions and variables that a loaded library defines and that the loader has bound, for the
/// library's own use, to another's. Not the standard library's, of which a process has one, nor
/// what many libraries define alike (weak: inline functions, instances of templates). handle:
/// dlopen's.
std::vector<ReplacedSymbol> replaced_symbols(void* handle);

}  // namespace bitfall
