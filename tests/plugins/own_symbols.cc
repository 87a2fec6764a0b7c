// Linked so that its calls reach its own function.
#include "replaced_symbols.cc"
