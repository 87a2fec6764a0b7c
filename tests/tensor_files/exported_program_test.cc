// The oracle is PyTorch, which writes the archives at test time (make_exported_programs.py).
#include "exported_program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "error.h"
#include "exported_fixture.h"
#include "model_card.h"
#include "refusal.h"
#include "stored_zip.h"

namespace bitfall::exported_program_test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

class ExportedArchive : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    exported_networks = {"residual", "maps", "transformer", "views", "regions", "names", "refused"};
  }
  void SetUp() override {
    if (!has_python()) GTEST_SKIP() << "no Python with PyTorch at " << BITFALL_PYTHON;
  }

  static void read(const std::string& name,
                   const std::function<void(const ExportedProgram&)>& use) {
    bool used = false;
    with_exported_program(exported_file(name), [&](const ExportedProgram& program) {
      used = true;
      use(program);
    });
    EXPECT_TRUE(used);
  }

  static std::string refusal(const std::string& name) {
    const fs::path path = exported_file("refused_" + name + ".pt2");
    const std::string message =
        error_of([&] { with_exported_program(path, [](const ExportedProgram&) {}); });
    EXPECT_THAT(message, StartsWith(path.string() + ": "));
    return message;
  }

  static const ExportedTensor& tensor(const ExportedProgram& program, const std::string& name) {
    for (const ExportedTensor& one : program.tensors) {
      if (one.name == name) return one;
    }
    throw std::runtime_error("no tensor " + name);
  }
};

TEST_F(ExportedArchive, HoldsCallsWithTheirModules) {
  read("residual.pt2", [](const ExportedProgram& program) {
    ASSERT_GE(program.graph.nodes.size(), 16u);
    const ExportedNode& conv = program.graph.nodes[1];
    EXPECT_EQ(conv.target, "torch.ops.aten.conv2d.default");
    EXPECT_EQ(conv.path, "layer.0.conv1");
    ASSERT_EQ(conv.operands.size(), 5u);
    EXPECT_EQ(conv.operands[0].name, "input");
    EXPECT_EQ(*conv.operands[0].value.name(), *program.graph.nodes[0].results[0].name());
    EXPECT_NE(conv.operands[2].value.as<ExportedArgument::None>(), nullptr);
    const auto* padding = conv.operands[4].value.as<ExportedArgument::List>();
    ASSERT_NE(padding, nullptr);
    EXPECT_EQ(*padding->at(0).as<std::int64_t>(), 1);
    EXPECT_EQ(program.graph.nodes.back().path, "fc");
  });
}

TEST_F(ExportedArchive, TellsTheInputAndItsSizes) {
  read("any_size.pt2", [](const ExportedProgram& program) {
    EXPECT_EQ(program.input_name, "x");
    EXPECT_EQ(program.input_sizes[0].least, 1);
    EXPECT_GT(program.input_sizes[0].most, std::int64_t{1} << 60);
    EXPECT_EQ(program.input_sizes[1].most, 3);
    EXPECT_EQ(program.input_sizes[2].least, 4);
    EXPECT_EQ(program.input_sizes[3].most, 64);
    EXPECT_EQ(program.input_sizes[3].example, 8);
  });
}

TEST_F(ExportedArchive, TensorsOfOneStorageShareIt) {
  read("views.pt2", [](const ExportedProgram& program) {
    const ExportedTensor &w = tensor(program, "w"), &wt = tensor(program, "wt"),
                         &rows = tensor(program, "rows");
    EXPECT_EQ(w.storage, wt.storage);
    EXPECT_EQ(w.storage, rows.storage);
    EXPECT_THAT(wt.sizes, ElementsAre(3, 5));
    EXPECT_THAT(wt.strides, ElementsAre(1, 3));
    EXPECT_EQ(rows.offset, 3);
    EXPECT_EQ(w.kind, ExportedTensor::Kind::kParameter);
    EXPECT_EQ(rows.kind, ExportedTensor::Kind::kBuffer);
    EXPECT_EQ(program.storages.at(w.storage).size(), 5 * 3 * sizeof(float));
    EXPECT_EQ(tensor(program, "conv.weight").storage, tensor(program, "same.weight").storage);
  });
}

TEST_F(ExportedArchive, AnswersHaveTheirForm) {
  read("transformer.pt2", [](const ExportedProgram& program) {
    EXPECT_EQ(program.answers.size(), 4u);
    EXPECT_THAT(program.form.keys, ElementsAre("logits", "hidden"));
    ASSERT_EQ(program.form.parts.size(), 2u);
    EXPECT_EQ(program.form.parts[0].kind, ExportedForm::Kind::kValue);
    EXPECT_EQ(program.form.parts[1].kind, ExportedForm::Kind::kTuple);
    EXPECT_EQ(program.form.parts[1].parts[1].parts.size(), 2u);
  });
}

TEST_F(ExportedArchive, GraphsWithinHoldTheirNodes) {
  read("regions.pt2", [](const ExportedProgram& program) {
    const auto& operands = program.graph.nodes.at(0).operands;
    const auto* graph = operands.at(1).value.as<std::shared_ptr<const ExportedGraph>>();
    ASSERT_NE(graph, nullptr);
    EXPECT_EQ((*graph)->nodes.at(0).path, "conv");
  });
}

// PyTorch itself cannot load commas and semicolons in names; the brackets it can.
TEST_F(ExportedArchive, ModulesMayHaveOddNames) {
  const auto records = read_stored(exported_file("names.pt2"));
  const fs::path path = exported_file("commas.pt2");
  auto copy = records;
  for (auto& [name, data] : copy) {
    if (!name.ends_with(".json")) continue;
    for (std::size_t at; (at = data.find("[x]")) != data.npos;) data.replace(at, 3, "a,b;c");
  }
  write_stored(path, copy);
  const auto paths = [](const fs::path& file) {
    std::vector<std::string> found;
    with_exported_program(file, [&](const ExportedProgram& program) {
      for (const ExportedNode& node : program.graph.nodes) found.push_back(node.path);
    });
    return found;
  };
  EXPECT_THAT(paths(exported_file("names.pt2")),
              ElementsAre("block.0", "block.1", "block.0", "block.1", "same.0", "same.1", "[x]",
                          "a b/c", "", "fc"));
  EXPECT_EQ(paths(path)[6], "a,b;c");
}

TEST_F(ExportedArchive, CardsAndInputShapesAreRead) {
  const ModelCard card = read_model_card(exported_file("card.pt2"));
  EXPECT_EQ(card.name, "small");
  EXPECT_EQ(card.method, "export");
  EXPECT_THAT(card.input, ElementsAre(3, 8, 6));
  EXPECT_THAT(read_model_card(exported_file("maps.pt2")).input, ElementsAre(3, 72, 56));
  EXPECT_THAT(read_model_card(exported_file("refused_truncated.pt2")).input, ElementsAre(0, 0, 0));
}

TEST_F(ExportedArchive, KindsAreToldApart) {
  for (const char* name : {"residual.pt2", "refused_fixed.pt2", "refused_old.pt2",
                           "refused_compiled.pt2", "refused_schema.pt2"}) {
    EXPECT_TRUE(is_exported_program(exported_file(name))) << name;
  }
  for (const char* name : {"residual.pt", "refused_truncated.pt2", "residual.f32", "absent.pt2"}) {
    EXPECT_FALSE(is_exported_program(exported_file(name))) << name;
  }
}

TEST_F(ExportedArchive, RefusalsSayWhatToDo) {
  EXPECT_THAT(refusal("fixed"), HasSubstr("{'x': {0: torch.export.Dim('batch', min=1)}}"));
  EXPECT_THAT(refusal("even"), AllOf(HasSubstr("Mul(Integer(2)"), HasSubstr("min=1")));
  EXPECT_THAT(refusal("half"), HasSubstr("export model.float()"));
  EXPECT_THAT(refusal("flat"), HasSubstr("[batch, channels, height, width]"));
  EXPECT_THAT(refusal("two"), HasSubstr("forward takes 2 inputs"));
  EXPECT_THAT(refusal("decomposed"), HasSubstr("without run_decompositions()"));
  EXPECT_THAT(refusal("schema"), HasSubstr("of version 9, and 8 is read"));
  EXPECT_THAT(refusal("pickled"), HasSubstr("'fc.bias' is pickled"));
  EXPECT_THAT(refusal("order"), HasSubstr("little end first"));
  EXPECT_THAT(refusal("compiled"), HasSubstr("AOTInductor"));
  EXPECT_THAT(refusal("old"), HasSubstr("torch.export.save(torch.export.load("));
}

TEST_F(ExportedArchive, DamageIsNoticed) {
  EXPECT_THAT(refusal("beyond"), HasSubstr("'fc.bias' does not lie within its storage"));
  EXPECT_THAT(refusal("table"), HasSubstr("lacks the table of its tensors"));
  EXPECT_THAT(refusal("models"), HasSubstr("without a network"));
  EXPECT_THAT(refusal("truncated"), HasSubstr("is truncated"));
  const std::string whole = read_text(exported_file("residual.pt2"));
  const fs::path path = exported_file("cut.pt2");
  for (std::size_t length = 0; length < whole.size(); length += 97) {
    std::ofstream(path, std::ios::binary | std::ios::trunc)
        .write(whole.data(), static_cast<std::streamsize>(length));
    EXPECT_THROW(with_exported_program(path, [](const ExportedProgram&) {}), Error) << length;
  }
  std::string flipped = whole;  // in a weight, which has a checksum
  flipped[flipped.find("weight_0") + 200] ^= 0x10;
  std::ofstream(path, std::ios::binary | std::ios::trunc) << flipped;
  EXPECT_THROW(with_exported_program(path, [](const ExportedProgram&) {}), Error);
}

// Where a tensor lies must be within its storage, whatever the numbers are.
TEST_F(ExportedArchive, TensorsBeyondTheirStorageAreRefused) {
  const auto records = read_stored(exported_file("views.pt2"));
  const fs::path path = exported_file("extent.pt2");
  const std::string ending = "/data/weights/model_weights_config.json";
  const auto table = std::find_if(records.begin(), records.end(), [&](const auto& record) {
    return record.first.ends_with(ending);
  });
  ASSERT_NE(table, records.end());
  const auto opens = [&](const std::string& pointer, const nlohmann::json& value) {
    nlohmann::json changed = nlohmann::json::parse(table->second);
    changed[nlohmann::json::json_pointer("/config/wt/tensor_meta" + pointer)] = value;
    auto copy = records;
    copy[table->first] = changed.dump();
    write_stored(path, copy);
    try {
      with_exported_program(path, [](const ExportedProgram&) {});
      return true;
    } catch (const Error&) {
      return false;
    }
  };
  constexpr std::int64_t kHuge = std::numeric_limits<std::int64_t>::max();
  EXPECT_TRUE(opens("/sizes/0/as_int", 3));
  EXPECT_TRUE(opens("/sizes/0/as_int", 0));  // no element at all
  EXPECT_TRUE(opens("/strides/1/as_int", 0));
  for (const std::int64_t bad : {std::int64_t{-1}, std::int64_t{4}, kHuge, kHuge / 4, -kHuge}) {
    EXPECT_FALSE(opens("/sizes/0/as_int", bad)) << bad;
    EXPECT_FALSE(opens("/strides/0/as_int", bad == 4 ? 5 : bad)) << bad;
    EXPECT_FALSE(opens("/storage_offset/as_int", bad == 4 ? 1 : bad)) << bad;
  }
  EXPECT_FALSE(opens("/dtype", 8));  // float64: twice the bytes
  EXPECT_FALSE(opens("/dtype", 99));
  EXPECT_FALSE(opens("/layout", 1));
  EXPECT_FALSE(opens("/strides", nlohmann::json::array()));
}

// Some entries of the graph, replaced by things of all kinds: an Error or a program.
TEST_F(ExportedArchive, ChangedByHandDoesNotCrash) {
  const auto records = read_stored(exported_file("transformer.pt2"));
  const fs::path path = exported_file("changed.pt2");
  int place = 0, refused = 0;
  for (const auto& [name, data] : records) {
    if (!name.ends_with(".json")) continue;
    const nlohmann::json whole = nlohmann::json::parse(data);
    const nlohmann::json flat = whole.flatten();
    for (const auto& [pointer, leaf] : flat.items()) {
      if (pointer.find("/metadata/") != pointer.npos || ++place % 13 != 0) continue;
      for (const nlohmann::json& other :
           {nlohmann::json(-1), nlohmann::json("x"), nlohmann::json(nullptr),
            nlohmann::json::object(), nlohmann::json(1e300)}) {
        nlohmann::json changed = whole;
        changed[nlohmann::json::json_pointer(pointer)] = other;
        auto copy = records;
        copy[name] = changed.dump();
        write_stored(path, copy);
        try {
          with_exported_program(path, [](const ExportedProgram&) {});
        } catch (const Error& error) {
          EXPECT_THAT(error.what(), StartsWith(path.string() + ": "));
          ++refused;
        }
      }
    }
  }
  EXPECT_GT(refused, 150);
}

TEST_F(ExportedArchive, DeepNestingIsRefused) {
  const auto records = read_stored(exported_file("regions.pt2"));
  const fs::path path = exported_file("deep.pt2");
  auto copy = records;
  for (auto& [name, data] : copy) {
    if (!name.ends_with("/models/model.json")) continue;
    nlohmann::json whole = nlohmann::json::parse(data);
    nlohmann::json& region =
        whole["/graph_module/graph/nodes/0/inputs/1/arg/as_graph/graph"_json_pointer];
    nlohmann::json& argument = region["/nodes/0/inputs/0/arg"_json_pointer];
    nlohmann::json inner = nlohmann::json::parse(R"({"as_int": 1})");
    for (int i = 0; i < 40; ++i) {
      nlohmann::json node = {{"target", "x"},
                             {"outputs", nlohmann::json::array()},
                             {"metadata", nlohmann::json::object()},
                             {"inputs", {{{"name", ""}, {"arg", inner}}}}};
      inner = {{"as_graph",
                {{"name", "g"},
                 {"graph",
                  {{"inputs", nlohmann::json::array()},
                   {"outputs", nlohmann::json::array()},
                   {"nodes", {node}}}}}}};
    }
    argument = inner;
    data = whole.dump();
  }
  write_stored(path, copy);
  EXPECT_THAT(error_of([&] { with_exported_program(path, [](const ExportedProgram&) {}); }),
              HasSubstr("too deep"));
}

}  // namespace
}  // namespace bitfall::exported_program_test
