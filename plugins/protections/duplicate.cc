// duplicate: the chosen operations are computed twice and compared.
#include "protections.h"

namespace bitfall_plugins {
namespace {

using namespace bitfall;  // NOLINT(google-build-using-namespace)

class Duplicate final : public Protection {
 public:
  bool wants(const ProtectedSite& site) const override { return site.operation != "answer"; }
  int passes() const override { return 0; }
  bool computed_twice(const ProtectedSite&) const override { return true; }
  Verdict guard(const ProtectedSite&, View<float>, const Slice&, View<const float>) const override {
    return {};
  }
};

}  // namespace

const Component<Protection> kDuplicate{
    "duplicate",
    "Computes the chosen operations twice and takes the right result",
    {},
    [](const Options&) -> Protection* { return new Duplicate; }};

}  // namespace bitfall_plugins
