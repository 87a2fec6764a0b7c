#include "head_report_text.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace bitfall::head_report_text_test {
namespace {

HeadReport report() {
  HeadReport report;
  report.model = "net.pt";
  report.module = "fc";
  report.card = HeadCard{"fc", "text_guided", "cosine=true", true};
  HeadLayer bottleneck, normalise, scale;
  bottleneck.name = "latent";
  bottleneck.outputs = 2;
  bottleneck.inputs = 1000;
  bottleneck.weight.assign(2000, 0);
  bottleneck.bias.assign(2, 0);
  bottleneck.trainable = true;
  normalise.kind = HeadLayerKind::kNormalise;
  normalise.name = "normalise";
  normalise.epsilon = 1e-12;
  scale.kind = HeadLayerKind::kScale;
  scale.name = "temperature";
  scale.log_factor = 2.65926;
  report.layers = {bottleneck, normalise, scale};
  report.features = 1000;
  report.classes = 2;
  report.vectors = 3;
  report.parameters = 1000000;
  report.operations = 1999;
  report.baseline_parameters = 999999;
  report.baseline_operations = 3000;
  return report;
}

TEST(HeadReportText, IsATableOfLayersAndOneOfCosts) {
  EXPECT_EQ(head_report_text(report()),
            R"(net.pt: head 'text_guided' at 'fc', 1000 features, 2 classes (cosine=true)

layer           kind       what it does          parameters  operations  trained
--------------  ---------  --------------------  ----------  ----------  -------
fc.latent       linear     1000 -> 2, with bias       2,002       6,000  yes
fc.normalise    normalise  x / max(|x|, 1e-12)            0           0  -
fc.temperature  scale      x exp(2.65926)                 1           0  no

                               parameters  operations
-----------------------------  ----------  ----------
this model                      1,000,000       1,999
with one linear layer instead     999,999       3,000
difference                             +1      -1,001

Operations are multiply-accumulates of one image, of convolutions, linear layers and matrix products;
lengths, divisions and scales are not counted.
)");
}

TEST(HeadReportText, OfAPlainModelSaysWhereAHeadWouldStand) {
  HeadReport plain = report();
  plain.card.reset();
  plain.layers.resize(1);
  const std::string text = head_report_text(plain);
  EXPECT_EQ(text.substr(0, text.find('\n')), "net.pt: no head attached; its last layer is 'fc'");
  EXPECT_NE(text.find("\nfc     linear"), text.npos) << text;
}

TEST(HeadReportText, JsonHoldsTheSameNumbers) {
  const auto document = nlohmann::json::parse(head_report_json(report()));
  EXPECT_EQ(document.at("schema"), "bitfall.head/1");
  EXPECT_EQ(document.at("init"), "text_guided");
  ASSERT_EQ(document.at("layers").size(), 3U);
  EXPECT_EQ(document["layers"][0],
            nlohmann::json::parse(R"({"name": "latent", "kind": "linear", "parameters": 2002,
              "operations": 6000, "trainable": true, "inputs": 1000, "outputs": 2, "bias": true})"));
  EXPECT_EQ(document["layers"][1].at("epsilon"), 1e-12);
  EXPECT_EQ(document["layers"][2].at("log_factor"), 2.65926);
  EXPECT_EQ(document.at("baseline").at("operations"), 3000);
  EXPECT_EQ(document.at("difference").at("operations"), -1001);
  HeadReport plain = report();
  plain.card.reset();
  EXPECT_TRUE(nlohmann::json::parse(head_report_json(plain)).at("init").is_null());
}

}  // namespace
}  // namespace bitfall::head_report_text_test
