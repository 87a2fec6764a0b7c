#include "foreign_faults.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "error.h"
#include "refusal.h"

namespace bitfall::foreign_faults_test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Site place(const std::string& name, Target target, const std::string& operation,
           std::vector<std::int64_t> shape) {
  std::int64_t values = 1;
  for (const std::int64_t size : shape) values *= size;
  return {name, {}, target, operation, std::move(shape), values, ""};
}

/// Registered as fc, b, a; called as a, b, fc.
const std::vector<Site>& sites() {
  static const std::vector<Site> kSites = {place("a", Target::kActivation, "conv", {4, 6, 6}),
                                           place("a/relu", Target::kActivation, "relu", {4, 6, 6}),
                                           place("b", Target::kActivation, "conv", {2, 4, 4}),
                                           place("fc", Target::kActivation, "linear", {5}),
                                           place("a.weight", Target::kWeight, "conv", {4, 3, 3, 3}),
                                           place("b.weight", Target::kWeight, "conv", {2, 4, 3, 3}),
                                           place("fc.weight", Target::kWeight, "linear", {5, 2}),
                                           place("fc.bias", Target::kWeight, "linear", {5})};
  return kSites;
}

ForeignFaults read(std::string_view text, const ForeignOptions& options = {}) {
  static const std::vector<NamedShape> kParameters = {{"fc.weight", {5, 2}},
                                                      {"fc.bias", {5}},
                                                      {"b.weight", {2, 4, 3, 3}},
                                                      {"a.weight", {4, 3, 3, 3}}};
  return read_foreign_faults("list", text, sites(), kParameters, options);
}

/// "b.weight image -1: flip 7 0x400; ..."
std::string shown(const ForeignFaults& found) {
  std::ostringstream out;
  for (const ForeignFault& fault : found.faults) {
    out << sites()[static_cast<std::size_t>(fault.site)].name << " image " << fault.image << ":";
    for (const Edit& edit : fault.edits) {
      out << ' ' << to_string(edit.operation) << ' ' << edit.element << ' ';
      is_real(edit.operation) ? out << edit.value : out << std::hex << edit.mask << std::dec;
    }
    out << "; ";
  }
  return out.str();
}

std::vector<std::string> reasons(const ForeignFaults& found) {
  std::vector<std::string> texts;
  for (const LeftOut& row : found.left_out) texts.push_back(row.row + ": " + row.reason);
  return texts;
}

TEST(ForeignFaults, Polito) {
  // Rows of ResNet20_FL.csv have this form.
  const auto found = read(
      "Injection,Layer,TensorIndex,Bit,n_injections,masked,non_critical,critical\n"
      "0,a,\"(3, 0, 2, 1)\",15,10000,14,9985,1\n1,fc,\"(4, 1)\",31,1,1,0,0\n"
      "2,c,\"(0,)\",1,1,1,0,0\n3,a,\"(3, 0, 2)\",1,1,1,0,0\n");
  EXPECT_EQ(shown(found), "a.weight image -1: flip 88 8000; fc.weight image -1: flip 9 80000000; ");
  EXPECT_THAT(reasons(found),
              ElementsAre(HasSubstr("line 4: the network has no layer 'c'"),
                          HasSubstr("line 5: place (3, 0, 2) is not in 'a.weight' of shape (4,")));
}

TEST(ForeignFaults, WeightsAreNumberedAsRegisteredAndOutputsAsCalled) {
  ForeignOptions options;
  options.layers = {"conv", "linear"};
  EXPECT_EQ(shown(read(R"({"batch": [2, 0, 0], "layer_num": [2, 1, 1], "dim1": [4, 1, 0],
                           "dim2": [null, 3, 0], "dim3": [null, 2, 0], "value": [1.5, -2, 8]})",
                       options)),
            "b image 0: value 30 -2 value 0 8; fc image 2: value 4 1.5; ");
  EXPECT_EQ(shown(read("k,layer_num,dim1,dim2,dim3,value\n4,0,1,,,3\n1,1,3,2,0,4\n", options)),
            "fc.weight image -1: value 9 3; b.weight image -1: value 69 4; ");
  options.layers = {"conv"};
  EXPECT_EQ(
      shown(read(",layer,kernel,channel,row,col,bitmask\n0,1,3,2,1.0,0.0,8388608\n", options)),
      "a.weight image -1: flip 102 800000; ");
}

TEST(ForeignFaults, WhatOneFaultCannotBe) {
  const auto found = read(R"([{"function": "f"}, {"batch": [0, 0], "layer_num": [0, 1],
      "dim1": [0, 0], "dim2": [0, 0], "dim3": [0, 0], "value": [1, 1]}])");
  EXPECT_EQ(shown(found), "a image 0: value 0 1; ");
  EXPECT_THAT(reasons(found), ElementsAre(HasSubstr("any Python in a hook"),
                                          HasSubstr("hits 'b' together with 'a' of")));
}

/// pickle.dumps of numpy.array([[1, 0, 2, -1, 1, 2, 31], [0, 0, 0, -1, 0, 1, 0]]).T
constexpr std::string_view kProtocol4(
    "\x80\x04\x95\xfb\x00\x00\x00\x00\x00\x00\x00\x8c\x16\x6e\x75\x6d\x70\x79\x2e\x5f"
    "\x63\x6f\x72\x65\x2e\x6d\x75\x6c\x74\x69\x61\x72\x72\x61\x79\x94\x8c\x0c\x5f\x72"
    "\x65\x63\x6f\x6e\x73\x74\x72\x75\x63\x74\x94\x93\x94\x8c\x05\x6e\x75\x6d\x70\x79"
    "\x94\x8c\x07\x6e\x64\x61\x72\x72\x61\x79\x94\x93\x94\x4b\x00\x85\x94\x43\x01\x62"
    "\x94\x87\x94\x52\x94\x28\x4b\x01\x4b\x07\x4b\x02\x86\x94\x68\x03\x8c\x05\x64\x74"
    "\x79\x70\x65\x94\x93\x94\x8c\x02\x69\x38\x94\x89\x88\x87\x94\x52\x94\x28\x4b\x03"
    "\x8c\x01\x3c\x94\x4e\x4e\x4e\x4a\xff\xff\xff\xff\x4a\xff\xff\xff\xff\x4b\x00\x74"
    "\x94\x62\x88\x43\x70\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    "\x00\x02\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00\x00"
    "\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x1f\x00\x00\x00\x00\x00\x00"
    "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    "\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00"
    "\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x94\x74\x94"
    "\x62\x2e",
    262);
constexpr std::string_view kProtocol5(
    "\x80\x05\x95\xe6\x00\x00\x00\x00\x00\x00\x00\x8c\x13\x6e\x75\x6d\x70\x79\x2e\x5f"
    "\x63\x6f\x72\x65\x2e\x6e\x75\x6d\x65\x72\x69\x63\x94\x8c\x0b\x5f\x66\x72\x6f\x6d"
    "\x62\x75\x66\x66\x65\x72\x94\x93\x94\x28\x96\x70\x00\x00\x00\x00\x00\x00\x00\x01"
    "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00"
    "\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00\x00\x00\x00\x00\x00\x00\x02"
    "\x00\x00\x00\x00\x00\x00\x00\x1f\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff"
    "\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00"
    "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x94\x8c\x05\x6e\x75\x6d\x70\x79\x94"
    "\x8c\x05\x64\x74\x79\x70\x65\x94\x93\x94\x8c\x02\x69\x38\x94\x89\x88\x87\x94\x52"
    "\x94\x28\x4b\x03\x8c\x01\x3c\x94\x4e\x4e\x4e\x4a\xff\xff\xff\xff\x4a\xff\xff\xff"
    "\xff\x4b\x00\x74\x94\x62\x4b\x07\x4b\x02\x86\x94\x8c\x01\x46\x94\x74\x94\x52\x94"
    "\x2e",
    241);

TEST(ForeignFaults, Pytorchalfi) {
  ForeignOptions options;
  EXPECT_THROW(read(kProtocol4, options), Error);  // what was hit?
  options.target = Target::kActivation;
  options.batch = 2;
  for (const std::string_view bytes : {kProtocol4, kProtocol5}) {
    // Bit 31 is the lowest, bit 0 the sign.
    EXPECT_EQ(shown(read(bytes, options)), "a image 1: flip 80 1; a image 0: flip 1 80000000; ");
    for (std::size_t size = 1; size < bytes.size(); ++size) {
      EXPECT_THAT(error_of([&] { read(bytes.substr(0, size), options); }), HasSubstr("list: "));
    }
  }
  options.numbers = true;
  options.per_image = 2;
  EXPECT_EQ(shown(read(kProtocol4, options)), "a image 1: value 80 31; a image 0: value 1 0; ");
}

TEST(ForeignFaults, FaultForgeDoesNotSayWhere) {
  const auto found = read(R"({"fingerprint": {}, "total_items": 10, "total_bits": 64,
      "result": {"kind": "detailed", "results": [{"correct_count": 3, "bitmask": [1, 2]}]}})");
  EXPECT_EQ(found.tool, "FaultForge");
  EXPECT_THAT(reasons(found), ElementsAre(HasSubstr("run 0: holds by which bits 2 parameters")));
}

TEST(ForeignFaults, OtherFiles) {
  EXPECT_THAT(error_of([] { read(""); }), HasSubstr("is empty"));
  EXPECT_THAT(error_of([] { read("a,b\n"); }), HasSubstr("those of no tool"));
  EXPECT_THAT(error_of([] { read("{\"a\": 1}"); }), HasSubstr("is neither a result"));
  EXPECT_THAT(error_of([] { read("[1"); }), HasSubstr("list:1:"));
}

}  // namespace
}  // namespace bitfall::foreign_faults_test
