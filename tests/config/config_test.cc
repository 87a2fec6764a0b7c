#include "config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>

#include "error.h"
#include "key_table.h"
#include "text_file.h"

namespace bitfall::config_test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* kSmallest = "[model]\npath = \"m.pt\"\n[data]\npath = \"images\"\n";

/// Parses a text that must be right.
Campaign parsed(const std::string& text, const std::string& file = "folder/c.toml") {
  Diagnostics diagnostics("c.toml", text);
  Campaign campaign = parse_campaign(file, text, diagnostics);
  EXPECT_EQ(diagnostics.render(), "");
  return campaign;
}

/// The messages of a text, as printed.
std::string messages(const std::string& text) {
  Diagnostics diagnostics("c.toml", text);
  parse_campaign("c.toml", text, diagnostics);
  return diagnostics.render();
}

/// The messages of lines appended to the smallest campaign, the first line being number 5.
std::string messages_of(const std::string& lines) { return messages(kSmallest + lines); }

TEST(Config, ModelAndDataAloneMakeACampaign) {
  const Campaign campaign = parsed(kSmallest);
  EXPECT_EQ(campaign.file, "folder/c.toml");
  EXPECT_EQ(campaign.text, kSmallest);
  EXPECT_EQ(campaign.model, "folder/m.pt");
  EXPECT_EQ(campaign.data.path, "folder/images");
  EXPECT_EQ(campaign.output, "folder/runs/c");
  EXPECT_EQ(campaign.seed, 1u);
  EXPECT_EQ(campaign.hit_value, HitValue::kRaw);
  EXPECT_EQ(campaign.clip, 10.0);
  EXPECT_EQ(campaign.confidence, 0.99);
  EXPECT_EQ(campaign.data.limit, 0);
  EXPECT_EQ(campaign.data.on_error, "fail");
  EXPECT_EQ(campaign.data.where.line, 3);
  EXPECT_EQ(campaign.format.id, "fp32");
  EXPECT_EQ(campaign.format.where.line, 0);
  EXPECT_FALSE(campaign.faults_given);
  ASSERT_EQ(campaign.faults.size(), 1u);
  EXPECT_EQ(campaign.faults[0].error_model.id, "bit_flip");
  EXPECT_FALSE(campaign.faults[0].per_site || campaign.faults[0].total ||
               campaign.faults[0].precision);
  EXPECT_EQ(campaign.metrics.size(), 5u);
  EXPECT_TRUE(campaign.plugins.empty());
}

TEST(Config, ReadsEveryKeyOfTheExample) {
  const Campaign campaign = parsed(R"([campaign]
seed = 1
output = "runs/resnet20-fp16"

[model]
path = "resnet20.pt"

[data]
path = "cifar10/test_lossless"   # one folder per class
limit = 1000
preprocess = { resize = 256, crop = 224, mean = [0.485, 0.456, 0.406], std = [0.229, 0.224, 0.225] }

[format]
id = "fp16"                      # a plugin's options stand next to its id

[[faults]]
error_model = { id = "bit_flip", bits = 1 }
target = "activation"
operations = ["conv", "linear"]
sites = ["layer*"]
per_site = 4096

[metrics]
ids = ["delta_loss", "mismatch", "top2diff"]

[run]
device = "cpu"
batch = 64
)");
  EXPECT_EQ(campaign.seed, 1u);
  EXPECT_EQ(campaign.output, "folder/runs/resnet20-fp16");
  EXPECT_EQ(campaign.model, "folder/resnet20.pt");
  EXPECT_EQ(campaign.data.path, "folder/cifar10/test_lossless");
  EXPECT_EQ(campaign.data.limit, 1000);
  const Preprocess& preprocess = campaign.data.preprocess;
  EXPECT_EQ(preprocess.resize, 256);
  EXPECT_FALSE(preprocess.resize_width);
  EXPECT_EQ(preprocess.crop, 224);
  EXPECT_EQ(preprocess.scale, 1.0 / 255.0);
  EXPECT_THAT(preprocess.mean, ElementsAre(0.485, 0.456, 0.406));
  EXPECT_THAT(preprocess.std, ElementsAre(0.229, 0.224, 0.225));
  EXPECT_EQ(campaign.format.id, "fp16");
  EXPECT_EQ(campaign.format.where.line, 14);
  EXPECT_EQ(campaign.format.where.column, 6);
  EXPECT_TRUE(campaign.faults_given);
  ASSERT_EQ(campaign.faults.size(), 1u);
  const FaultsConfig& faults = campaign.faults[0];
  EXPECT_EQ(faults.where.line, 16);
  EXPECT_EQ(faults.error_model.id, "bit_flip");
  ASSERT_EQ(faults.error_model.options.size(), 1u);
  EXPECT_EQ(faults.error_model.options[0].name, "bits");
  EXPECT_EQ(faults.error_model.options[0].value, OptionValue(std::int64_t{1}));
  EXPECT_EQ(faults.error_model.options[0].name_where.column, 34);
  EXPECT_EQ(faults.error_model.options[0].value_where.column, 41);
  EXPECT_EQ(faults.target, Target::kActivation);
  EXPECT_THAT(faults.operations, ElementsAre("conv", "linear"));
  EXPECT_THAT(faults.sites, ElementsAre("layer*"));
  ASSERT_EQ(faults.sites_where.size(), 1u);
  EXPECT_EQ(faults.sites_where[0].line, 20);
  EXPECT_EQ(faults.per_site, 4096);
  ASSERT_EQ(campaign.metrics.size(), 3u);
  EXPECT_EQ(campaign.metrics[1].id, "mismatch");
  EXPECT_EQ(campaign.metrics[1].where.column, 22);
  EXPECT_EQ(campaign.device, "cpu");
  EXPECT_EQ(campaign.batch, 64);
}

TEST(Config, ReadsEveryOtherForm) {
  const Campaign campaign = parsed(R"([campaign]
seed = 9223372036854775807
output = "/absolute/../run"
hit_value = "clamped"
clip = 3
confidence = 0.95
[model]
path = "../m.pt"
[data]
path = "x.npy"
labels = "y.npy"
classes = "names.txt"
on_error = "skip"
[data.preprocess]
colour = "grey"
resize = [224, 192]
interpolation = "bicubic"
scale = 1
mean = [0.5]
std = [1]
[format]
id = "int8"
flag = true
number = 0.5
text = "x"
list = [0, 3]
none = []
[[faults]]
error_model = "stuck_at"
target = "weight"
operations = "*"
sites = "fc.*"
total = 5
[[faults]]
target = "input"
precision = 0.01
[metrics]
ids = ["mismatch", { id = "delta_loss", clip = 2.5 }]
[plugins]
paths = "p.so"
[run]
device = "cuda:12"
threads = 2
suffix = false
commit_every = 1
)");
  EXPECT_EQ(campaign.seed, 9223372036854775807u);
  EXPECT_EQ(campaign.output, "/run");
  EXPECT_EQ(campaign.hit_value, HitValue::kClamped);
  EXPECT_EQ(campaign.clip, 3.0);
  EXPECT_EQ(campaign.confidence, 0.95);
  EXPECT_EQ(campaign.model, "m.pt");
  EXPECT_EQ(campaign.data.labels, "folder/y.npy");
  EXPECT_EQ(campaign.data.classes, "folder/names.txt");
  EXPECT_EQ(campaign.data.on_error, "skip");
  const Preprocess& preprocess = campaign.data.preprocess;
  EXPECT_EQ(preprocess.colour, "grey");
  EXPECT_EQ(preprocess.resize, 224);
  EXPECT_EQ(preprocess.resize_width, 192);
  EXPECT_EQ(preprocess.interpolation, Interpolation::kBicubic);
  EXPECT_EQ(preprocess.scale, 1.0);
  ASSERT_EQ(campaign.format.options.size(), 5u);
  EXPECT_EQ(campaign.format.options[0].name, "flag");
  EXPECT_EQ(campaign.format.options[0].value, OptionValue(true));
  EXPECT_EQ(campaign.format.options[1].value, OptionValue(0.5));
  EXPECT_EQ(campaign.format.options[2].value, OptionValue(std::string("x")));
  EXPECT_EQ(campaign.format.options[3].value, OptionValue(std::vector<std::int64_t>{0, 3}));
  EXPECT_EQ(campaign.format.options[4].value, OptionValue(std::vector<std::int64_t>{}));
  ASSERT_EQ(campaign.faults.size(), 2u);
  EXPECT_EQ(campaign.faults[0].error_model.id, "stuck_at");
  EXPECT_EQ(campaign.faults[0].target, Target::kWeight);
  EXPECT_THAT(campaign.faults[0].operations, ElementsAre("*"));
  EXPECT_EQ(campaign.faults[0].total, 5);
  EXPECT_EQ(campaign.faults[1].target, Target::kInput);
  EXPECT_EQ(campaign.faults[1].precision, 0.01);
  ASSERT_EQ(campaign.metrics.size(), 2u);
  EXPECT_EQ(campaign.metrics[1].options[0].value, OptionValue(2.5));
  EXPECT_THAT(campaign.plugins, ElementsAre("folder/p.so"));
  EXPECT_EQ(campaign.device, "cuda:12");
  EXPECT_EQ(campaign.threads, 2);
  EXPECT_FALSE(campaign.suffix);
  EXPECT_EQ(campaign.commit_every, 1);
}

TEST(Config, AcceptsByteOrderMarkAndCarriageReturns) {
  EXPECT_EQ(parsed("\xEF\xBB\xBF[model]\r\npath = \"m\"\r\n[data]\r\npath = \"d\"\r\n").model,
            "folder/m");
}

TEST(Config, FileWithoutFolderKeepsRelativePaths) {
  const Campaign campaign = parsed(kSmallest, "c.toml");
  EXPECT_EQ(campaign.model, "m.pt");
  EXPECT_EQ(campaign.output, "runs/c");
}

TEST(Config, UnknownKeyNamesTheNearest) {
  EXPECT_EQ(messages_of("[run]\nbacth = 64\n"),
            "c.toml:6:1: unknown key 'bacth' in [run]\n"
            "    6 | bacth = 64\n"
            "      | ^^^^^ did you mean 'batch'?\n");
}

TEST(Config, UnknownKeyFarFromAllListsThem) {
  EXPECT_EQ(messages_of("[metrics]\nfoo = 64\n"),
            "c.toml:6:1: unknown key 'foo' in [metrics]\n"
            "    6 | foo = 64\n"
            "      | ^^^ known: 'ids'\n");
}

TEST(Config, UnknownSectionNamesTheNearest) {
  EXPECT_EQ(messages_of("[[fault]]\nper_site = 1\n"),
            "c.toml:5:3: unknown section [fault]\n"
            "    5 | [[fault]]\n"
            "      |   ^^^^^ did you mean [[faults]]?\n");
}

TEST(Config, KeyOutsideASectionIsSentHome) {
  EXPECT_EQ(messages(std::string("seed = 3\n") + kSmallest),
            "c.toml:1:1: key 'seed' is outside any section\n"
            "    1 | seed = 3\n"
            "      | ^^^^ it belongs below [campaign]\n");
}

TEST(Config, MissingSectionsAndKeys) {
  EXPECT_EQ(
      messages("[data]\nlimit = 3\n"),
      "c.toml:1:1: missing key 'path' in [data]\n"
      "    1 | [data]\n"
      "      | ^^^^^^ Folder with one folder of images per class, or of images that `list` names, "
      "or images in one .npy file ([N,C,H,W] float32 or [N,H,W,C] uint8).\n"
      "c.toml: missing section [model] (the network)\n");
  EXPECT_EQ(messages(""),
            "c.toml: missing section [model] (the network)\n"
            "c.toml: missing section [data] (images, labels and preprocessing)\n");
}

TEST(Config, WrongTypesSayWhatIsExpectedAndFound) {
  EXPECT_EQ(messages_of("[run]\nbatch = \"64\"\nsuffix = 1\nthreads = 1.0\ndevice = 1979-05-27\n"),
            "c.toml:6:9: 'batch' in [run] must be an integer, found a string\n"
            "    6 | batch = \"64\"\n"
            "      |         ^^^^\n"
            "c.toml:7:10: 'suffix' in [run] must be true or false, found an integer\n"
            "    7 | suffix = 1\n"
            "      |          ^\n"
            "c.toml:8:11: 'threads' in [run] must be an integer, found a float\n"
            "    8 | threads = 1.0\n"
            "      |           ^^^\n"
            "c.toml:9:10: 'device' in [run] must be a string, found a date\n"
            "    9 | device = 1979-05-27\n"
            "      |          ^^^^^^^^^^\n");
}

TEST(Config, RangesSayTheirEnds) {
  EXPECT_EQ(messages_of("[campaign]\nseed = -1\nclip = 0\nconfidence = 1.0\n[run]\nbatch = -1\n"),
            "c.toml:6:8: 'seed' in [campaign] must be at least 0, found -1\n"
            "    6 | seed = -1\n"
            "      |        ^^\n"
            "c.toml:7:8: 'clip' in [campaign] must be greater than 0, found 0\n"
            "    7 | clip = 0\n"
            "      |        ^\n"
            "c.toml:8:14: 'confidence' in [campaign] must be greater than 0 and less than 1, "
            "found 1\n"
            "    8 | confidence = 1.0\n"
            "      |              ^^^\n"
            "c.toml:10:9: 'batch' in [run] must be from 0 to 65536, found -1\n"
            "   10 | batch = -1\n"
            "      |         ^^\n");
}

TEST(Config, NumbersMustBeFinite) {
  EXPECT_THAT(messages_of("[campaign]\nclip = nan\n"),
              HasSubstr("c.toml:6:8: 'clip' in [campaign] must be a finite number, found nan\n"));
  EXPECT_THAT(messages_of("[campaign]\nclip = inf\n"), HasSubstr("finite number, found inf\n"));
}

TEST(Config, ChoicesNameTheNearest) {
  EXPECT_EQ(messages_of("[campaign]\nhit_value = \"clampd\"\n"),
            "c.toml:6:13: 'hit_value' in [campaign] must be one of 'raw', 'clamped', found "
            "'clampd'\n"
            "    6 | hit_value = \"clampd\"\n"
            "      |             ^^^^^^^^ did you mean 'clamped'?\n");
}

TEST(Config, OnlyOneNumberOfTrialsMayBeGiven) {
  EXPECT_EQ(messages_of("[[faults]]\nper_site = 10\nprecision = 0.01\n"),
            "c.toml:7:13: 'precision' in [[faults]] cannot be used together with 'per_site'\n"
            "    7 | precision = 0.01\n"
            "      |             ^^^^ keep one of 'per_site', 'total' and 'precision'\n");
}

TEST(Config, FaultsWithSingleBracketsAreExplained) {
  EXPECT_EQ(messages_of("[faults]\nper_site = 10\n"),
            "c.toml:5:1: [[faults]] must be tables, found a table\n"
            "    5 | [faults]\n"
            "      | ^^^^^^^^ write [[faults]] with two brackets on each side\n");
}

TEST(Config, SectionsMustBeTables) {
  EXPECT_EQ(messages("model = \"m.pt\"\n[data]\npath = \"d\"\n"),
            "c.toml:1:9: [model] must be one table, found a string\n"
            "    1 | model = \"m.pt\"\n"
            "      |         ^^^^^^ write [model] on a line of its own, and its keys below\n");
  EXPECT_THAT(messages_of("[[run]]\nbatch = 1\n"),
              HasSubstr("c.toml:5:1: [run] must be one table, found an array\n"));
}

TEST(Config, PluginChoicesNeedAnId) {
  EXPECT_EQ(messages_of("[format]\nbits = 8\n[[faults]]\nerror_model = { bits = 1 }\n"),
            "c.toml:5:1: missing key 'id' in [format]\n"
            "    5 | [format]\n"
            "      | ^^^^^^^^ ids are listed by 'bitfall plugin list'\n"
            "c.toml:8:15: missing key 'id' in 'error_model' in [[faults]]\n"
            "    8 | error_model = { bits = 1 }\n"
            "      |               ^^^^^^^^^^^^ ids are listed by 'bitfall plugin list'\n");
  EXPECT_THAT(messages_of("[format]\nid = 8\n"),
              HasSubstr("c.toml:6:6: 'id' in [format] must be a string, found an integer\n"));
  EXPECT_THAT(messages_of("[format]\nid = \"a\"\nx = [1, \"a\"]\n"),
              HasSubstr("c.toml:7:5: option 'x' of [format] must be true or false, a number, a "
                        "string or an array of numbers or of strings, found an array\n"));
}

TEST(Config, MetricsAreListedOnce) {
  EXPECT_EQ(messages_of("[metrics]\nids = [\"mismatch\", \"mismatch\"]\n"),
            "c.toml:6:20: 'ids' in [metrics] lists 'mismatch' twice\n"
            "    6 | ids = [\"mismatch\", \"mismatch\"]\n"
            "      |                    ^^^^^^^^^^\n");
  EXPECT_EQ(messages_of("[metrics]\nids = [{ id = \"topk\", k = 5 }, { id = \"topk\", k = 1 }]\n"),
            "");
  EXPECT_THAT(
      messages_of("[metrics]\nids = [{ id = \"topk\", k = 5 }, { id = \"topk\", k = 5 }]\n"),
      HasSubstr("lists 'topk' twice with the same options\n"));
  EXPECT_THAT(messages_of("[metrics]\nids = \"mismatch\"\n"),
              HasSubstr("must be an array of ids or of tables with an id, found a string\n"));
}

TEST(Config, PreprocessingIsChecked) {
  const std::string text = messages_of(
      "preprocess = { resize = [1, 2, 3], crop = 0, scale = \"1/256\", mean = [0.5, 0.5], "
      "std = [1, 0, 1], colour = \"gray\", size = 3 }\n");
  EXPECT_THAT(text, HasSubstr("5:25: 'resize' in [data] preprocess must be an integer or [height, "
                              "width], found an array of 3\n"));
  EXPECT_THAT(text, HasSubstr("'crop' in [data] preprocess must be from 1 to 8192, found 0\n"));
  EXPECT_THAT(text, HasSubstr("'scale' in [data] preprocess must be a number or \"1/255\", found "
                              "'1/256'\n"));
  EXPECT_THAT(text, HasSubstr("'mean' in [data] preprocess must have 1 or 3 numbers, found 2\n"));
  EXPECT_THAT(text, HasSubstr("'std' in [data] preprocess must be greater than 0, found 0\n"));
  EXPECT_THAT(text, HasSubstr("did you mean 'grey'?"));
  EXPECT_THAT(text, HasSubstr("unknown key 'size' in [data] preprocess\n"));
}

TEST(Config, MeanAndStdHaveOneLength) {
  EXPECT_EQ(messages_of("preprocess.mean = [0.5]\npreprocess.std = [1, 1, 1]\n"),
            "c.toml:6:18: 'std' in [data] preprocess must have as many numbers as 'mean' (1), "
            "found 3\n"
            "    6 | preprocess.std = [1, 1, 1]\n"
            "      |                  ^^^^^^^^^\n");
  EXPECT_THAT(messages_of("preprocess = { colour = \"grey\", mean = [1, 1, 1] }\n"),
              HasSubstr("'mean' in [data] preprocess must have 1 number for a grey image, "
                        "found 3\n"));
}

TEST(Config, LabelsGoWithArrays) {
  EXPECT_EQ(messages("[model]\npath = \"m\"\n[data]\npath = \"x.npy\"\n"),
            "c.toml:4:8: 'path' in [data] is an images .npy and needs 'labels' too\n"
            "    4 | path = \"x.npy\"\n"
            "      |        ^^^^^^^ a .npy file with one integer per image\n");
  EXPECT_EQ(
      messages_of("labels = \"y.npy\"\n"),
      "c.toml:5:10: 'labels' in [data] is only for an images .npy\n"
      "    5 | labels = \"y.npy\"\n"
      "      |          ^^^^^^^ in a folder of images the folders' names are the labels, or those "
      "of a 'list'\n");
}

TEST(Config, ListsGoWithFolders) {
  EXPECT_EQ(parsed(std::string(kSmallest) + "list = \"val.txt\"\n").data.list, "folder/val.txt");
  EXPECT_EQ(messages("[model]\npath = \"m\"\n[data]\npath = \"x.npy\"\nlabels = \"y.npy\"\n"
                     "list = \"l.txt\"\n"),
            "c.toml:6:8: 'list' in [data] is only for a folder of images\n"
            "    6 | list = \"l.txt\"\n"
            "      |        ^^^^^^^ an images .npy has 'labels'\n");
}

TEST(Config, InterpolationIsOfResizing) {
  EXPECT_FALSE(parsed(kSmallest).data.preprocess.interpolation);
  EXPECT_EQ(messages_of("preprocess = { interpolation = \"bicubic\" }\n"),
            "c.toml:5:32: 'interpolation' in [data] preprocess is read only with 'resize'\n"
            "    5 | preprocess = { interpolation = \"bicubic\" }\n"
            "      |                                ^^^^^^^^^ give the size, or leave it out\n");
  EXPECT_THAT(messages_of("preprocess = { resize = 8, interpolation = \"cubic\" }\n"),
              HasSubstr("must be one of 'nearest', 'box', 'bilinear', 'hamming', 'bicubic', "
                        "'lanczos', found 'cubic'"));
}

TEST(Config, EmptyListsAndTextsAreErrors) {
  EXPECT_THAT(messages_of("[[faults]]\nsites = []\n"),
              HasSubstr("6:9: 'sites' in [[faults]] must not be empty\n"));
  EXPECT_THAT(messages_of("[[faults]]\noperations = [\"\"]\n"),
              HasSubstr("6:15: 'operations' in [[faults]] must not be empty\n"));
  EXPECT_THAT(messages(std::string("faults = []\n") + kSmallest),
              HasSubstr("1:10: 'faults' has no entry\n"));
  EXPECT_THAT(messages_of("classes = \"a\\u0000b\"\n"),
              HasSubstr("'classes' in [data] must not hold a NUL character\n"));
}

TEST(Config, DevicesAreChecked) {
  for (const char* device : {"gpu", "cuda:", "cuda:x", "cuda:1x", "cuda:12345", "CPU"}) {
    EXPECT_THAT(messages_of("[run]\ndevice = \"" + std::string(device) + "\"\n"),
                HasSubstr("6:10: 'device' in [run] must be 'cpu', 'cuda' or 'cuda:N', found '" +
                          std::string(device) + "'\n"));
  }
}

TEST(Config, SyntaxErrorsHaveTheirPlace) {
  EXPECT_EQ(messages("[model]\npath = \"m.pt\n"),
            "c.toml:2:13: not valid TOML: Error while parsing string: unescaped control "
            "characters other than TAB (U+0009) are explicitly prohibited\n"
            "    2 | path = \"m.pt\n"
            "      |             ^\n");
  EXPECT_THAT(messages("[model]\npath = 1\npath = 2\n"), HasSubstr("c.toml:3:8: not valid TOML: "));
}

TEST(Config, HostileTextsGiveMessages) {
  const std::string deep = "a = " + std::string(100000, '[');
  for (const std::string& text :
       {deep, std::string("\xFF\xFE"), std::string("a\0b = 1", 7), std::string("\x01"),
        std::string("[model"), std::string("[[faults]]\n[faults]\n"),
        std::string("seed = 99999999999999999999")}) {
    EXPECT_THAT(messages(text), HasSubstr("not valid TOML: ")) << text.substr(0, 20);
  }
}

TEST(Config, TruncatedFilesNeverCrash) {
  const std::string text = std::string(kSmallest) +
                           "preprocess = { resize = [2, 3], mean = [0.5], std = [1.0] }\n[[faults]]"
                           "\nerror_model = { id = \"x\", a = [1] }\n[metrics]\nids = [\"a\"]\n";
  for (std::size_t length = 0; length < text.size(); ++length) {
    Diagnostics diagnostics("c.toml", text.substr(0, length));
    parse_campaign("c.toml", text.substr(0, length), diagnostics);
    EXPECT_EQ(diagnostics.empty(), diagnostics.render().empty());
  }
}

/// Writes every key with a default in TOML syntax out and expects the campaign that says nothing.
TEST(Config, DocumentedDefaultsAreTheDefaults) {
  std::string text, section, goal;
  for (const KeySpec& key : campaign_keys().keys) {
    if (std::string(key.section) == "faults.precision") {  // instead of other keys
      if (key.default_value && !key.default_value->empty()) {
        goal += std::string(", ") + key.name + " = " + *key.default_value;
      }
      continue;
    }
    if (std::string(key.section) != section) {
      section = key.section;
      const bool repeated = section == "faults" || section == "formats" || section == "protect";
      text += repeated ? "[[" + section + "]]\n" : "[" + section + "]\n";
    }
    const std::string name = std::string(key.name) + " = ";
    if (!key.default_value) {
      text += name + (section == "model"     ? "\"m.pt\"\n"
                      : section == "formats" ? "\"fp32\"\n"
                                             : "\"images\"\n");
    } else if (!key.default_value->empty()) {
      text += name + *key.default_value + "\n";
    }
  }
  const Campaign given = parsed(text);
  const Campaign silent = parsed(kSmallest);
  const auto with_goal = [](const std::string& keys) {
    return *parsed(std::string(kSmallest) + "[[faults]]\nprecision = { halfwidth = 0.01" + keys +
                   " }\n")
                .faults[0]
                .goal;
  };
  const PrecisionGoal said = with_goal(goal), unsaid = with_goal("");
  EXPECT_NE(goal, "");
  EXPECT_EQ(std::tuple(said.of, said.over, said.minimum, said.maximum, said.confidence),
            std::tuple(unsaid.of, unsaid.over, unsaid.minimum, unsaid.maximum, unsaid.confidence));
  EXPECT_EQ(given.seed, silent.seed);
  EXPECT_EQ(given.output, silent.output);
  EXPECT_EQ(given.hit_value, silent.hit_value);
  EXPECT_EQ(given.clip, silent.clip);
  EXPECT_EQ(given.confidence, silent.confidence);
  EXPECT_EQ(given.data.limit, silent.data.limit);
  EXPECT_EQ(given.data.on_error, silent.data.on_error);
  EXPECT_EQ(given.data.preprocess.colour, silent.data.preprocess.colour);
  EXPECT_EQ(given.data.preprocess.scale, silent.data.preprocess.scale);
  EXPECT_EQ(given.format.id, silent.format.id);
  ASSERT_EQ(given.faults.size(), silent.faults.size());
  EXPECT_EQ(given.faults[0].error_model.id, silent.faults[0].error_model.id);
  EXPECT_EQ(given.faults[0].target, silent.faults[0].target);
  EXPECT_EQ(given.faults[0].operations, silent.faults[0].operations);
  EXPECT_EQ(given.faults[0].sites, silent.faults[0].sites);
  EXPECT_EQ(given.faults[0].per_site, 1024);
  ASSERT_EQ(given.metrics.size(), silent.metrics.size());
  for (std::size_t i = 0; i < given.metrics.size(); ++i) {
    EXPECT_EQ(given.metrics[i].id, silent.metrics[i].id);
  }
  EXPECT_EQ(given.plugins, silent.plugins);
  EXPECT_EQ(given.device, silent.device);
  EXPECT_EQ(given.batch, silent.batch);
  EXPECT_EQ(given.threads, silent.threads);
  EXPECT_EQ(given.suffix, silent.suffix);
  EXPECT_EQ(given.commit_every, silent.commit_every);
}

// The file said 65535, the reader of images 8192, without file and line.
TEST(Config, SidesBeyondWhatImagesMayHaveAreToldWithTheirPlace) {
  EXPECT_EQ(parsed(std::string(kSmallest) + "preprocess = { crop = 8192 }\n").data.preprocess.crop,
            kLongestSide);
  for (const char* key : {"crop = 8193", "resize = 8193", "resize = [8192, 8193]"}) {
    const std::string name = std::string(key).substr(0, std::string(key).find(' '));
    EXPECT_THAT(messages_of("preprocess = { " + std::string(key) + " }\n"),
                testing::AllOf(testing::StartsWith("c.toml:5:"),
                               HasSubstr("'" + name +
                                         "' in [data] preprocess must be from 1 to "
                                         "8192, found 8193\n")));
  }
}

TEST(CampaignKeys, DefaultsAreWrittenAsToml) {
  EXPECT_EQ(toml_text(true), "true");
  EXPECT_EQ(toml_text(std::int64_t{-7}), "-7");
  EXPECT_EQ(toml_text(10.0), "10.0");
  EXPECT_EQ(toml_text(1e-4), "1e-4");
  EXPECT_EQ(toml_text(1e-12), "1e-12");
  EXPECT_EQ(toml_text(std::string("cpu")), "\"cpu\"");
  EXPECT_EQ(toml_text(std::vector<std::string>{}), "[]");
  EXPECT_EQ(toml_text(std::vector<std::string>{"conv", "linear"}), "[\"conv\", \"linear\"]");
  EXPECT_EQ(toml_choice(kHitValueNames, HitValue::kClamped), "\"clamped\"");
}

TEST(CampaignKeys, BelongToSectionsAndHaveHelp) {
  for (const KeySpec& key : campaign_keys().keys) {
    const std::string top = std::string(key.section).substr(0, std::string(key.section).find('.'));
    bool known = false;
    for (const SectionSpec& section : campaign_keys().sections)
      known = known || top == section.name;
    EXPECT_TRUE(known) << key.section;
    EXPECT_TRUE(std::string(key.help).ends_with('.')) << key.name;
    EXPECT_EQ(campaign_keys().find(key.section, key.name), &key) << key.name << " is listed twice";
  }
}

TEST(CampaignKeys, MarkdownHasARowAKey) {
  const std::string text = campaign_keys().markdown();
  EXPECT_THAT(text, HasSubstr("`[run]`: how the campaign is run\n\n| key | value | default | what "
                              "it does |\n| --- | --- | --- | --- |\n| `device` | a string | "
                              "`\"cpu\"` |"));
  EXPECT_THAT(text, HasSubstr("| `confidence` | a number, greater than 0 and less than 1 | `0.99` "
                              "| Confidence of all intervals. |\n"));
  EXPECT_THAT(text, HasSubstr("`preprocess = { ... }` in `[data]`\n"));
  const std::regex row("\n\\| `[a-z0-9_]+` \\|");
  EXPECT_EQ(static_cast<std::size_t>(std::distance(
                std::sregex_iterator(text.begin(), text.end(), row), std::sregex_iterator())),
            campaign_keys().keys.size());
}

TEST(CampaignKeys, JsonHasEveryKeyWithItsDefault) {
  for (const KeyTable* table : {&campaign_keys(), &training_keys()}) {
    const auto document = nlohmann::json::parse(table->json());
    EXPECT_EQ(document["schema"], "bitfall.config/1");
    std::size_t keys = 0;
    for (const auto& section : document["sections"]) {
      for (const auto& key : section["keys"]) {
        ++keys;
        const std::string name = section["name"], word = key["name"];
        const KeySpec* spec = table->find(name, word);
        ASSERT_NE(spec, nullptr) << name << "." << word;
        EXPECT_EQ(key["required"], !spec->default_value.has_value());
        EXPECT_EQ(key["default"].is_null(), !spec->default_value || spec->default_value->empty());
        EXPECT_EQ(key["help"], spec->help);
      }
    }
    EXPECT_EQ(keys, table->keys.size());
  }
  const auto text = campaign_keys().json();
  const auto sections = nlohmann::json::parse(text)["sections"];
  EXPECT_EQ(sections[0]["keys"][0],
            nlohmann::json::parse(R"({"name": "seed", "type": "integer", "required": false,
              "default": 1, "minimum": 0, "maximum": null, "open": false, "choices": [],
              "help": "Seed of every random draw; the same seed gives the same trials."})"));
}

TEST(CampaignKeys, JsonSchemaHasEverySection) {
  const auto schema = nlohmann::json::parse(campaign_keys().json_schema());
  const auto& sections = schema["properties"];
  EXPECT_EQ(schema["required"], nlohmann::json::parse(R"(["model", "data"])"));
  EXPECT_EQ(schema["additionalProperties"], false);
  EXPECT_EQ(sections["faults"]["type"], "array");
  EXPECT_EQ(sections["faults"]["items"]["properties"]["precision"]["anyOf"][0]["exclusiveMaximum"],
            0.5);
  EXPECT_EQ(sections["faults"]["items"]["properties"]["precision"]["anyOf"][1]["required"],
            nlohmann::json::parse(R"(["halfwidth"])"));
  EXPECT_EQ(sections["campaign"]["properties"]["hit_value"]["enum"],
            nlohmann::json::parse(R"(["raw", "clamped"])"));
  EXPECT_EQ(sections["campaign"]["additionalProperties"], false);
  EXPECT_FALSE(sections["format"].contains("additionalProperties"));  // options of the format
  EXPECT_EQ(sections["data"]["required"], nlohmann::json::parse(R"(["path"])"));
  EXPECT_EQ(sections["data"]["properties"]["preprocess"]["properties"]["crop"]["maximum"], 8192);
}

TEST(CampaignKeys, ReadmeHoldsTheTables) {
  const std::string begin = "<!-- keys -->\n", end = "<!-- /keys -->\n";
  const std::string readme = read_text(BITFALL_SOURCE_DIR "/core/README.md");
  const std::size_t first = readme.find(begin), last = readme.find(end);
  ASSERT_NE(first, readme.npos) << "core/README.md lacks the line " << begin;
  ASSERT_NE(last, readme.npos) << "core/README.md lacks the line " << end;
  ASSERT_LT(first, last);
  const std::size_t start = first + begin.size();
  EXPECT_EQ(readme.substr(start, last - start), campaign_keys().markdown())
      << "`bitfall config` prints what belongs between the lines <!-- keys --> and <!-- /keys -->";
}

}  // namespace
}  // namespace bitfall::config_test
