#include "about_checks.h"

#include <gmock/gmock.h>

namespace bitfall::about_checks_test {
namespace {

using testing::HasSubstr;

// Examples of SPDX 2.3, annex D.
TEST(Licence, MayBeAnyExpression) {
  for (const char* licence :
       {"MIT", "Apache-2.0", "CDDL-1.0", "LicenseRef-23", "LicenseRef-MIT-Style-1", "CDDL-1.0+",
        "DocumentRef-spdx-tool-1.2:LicenseRef-MIT-Style-2", "LGPL-2.1-only OR MIT",
        "LGPL-2.1-only AND MIT AND BSD-2-Clause", "GPL-2.0-or-later WITH Bison-exception-2.2",
        "LGPL-2.1-only OR BSD-3-Clause AND MIT", "MIT AND (LGPL-2.1-or-later OR BSD-3-Clause)",
        "((MIT))", "GPL-2.0+", "SomethingThatIsNew-7.3"}) {
    EXPECT_EQ(licence_problem(licence), "") << licence;
  }
}

TEST(Licence, ThatIsNoneSaysWhatIsMeant) {
  const auto meant = [](const std::string& licence, const std::string& words) {
    EXPECT_THAT(licence_problem(licence), HasSubstr(words)) << licence;
    EXPECT_THAT(licence_problem(licence), HasSubstr("'" + licence + "'")) << licence;
  };
  meant("Apache 2.0", "'2.0' does not belong there; Apache-2.0 may be meant");
  meant("apache-2.0", "Apache-2.0 may be meant");
  meant("Apache2", "Apache-2.0 may be meant");
  meant("MIT License", "MIT may be meant");
  meant("GPLv3", "GPL-3.0-only or GPL-3.0-or-later may be meant");
  meant("BSD", "BSD-2-Clause or BSD-3-Clause may be meant");
  meant("MIT or ISC", "'or' does not belong there");
  meant("MIT OR", "a name is missing at its end");
  meant("", "a name is missing");
  meant("(MIT", "a '(' without its ')'");
  meant("MIT)", "a ')' without its '('");
  meant("MIT (ISC)", "'(' does not belong there");
  meant("see_LICENSE.txt", "is no identifier");
  meant("MIT OR mit", "'mit' is no identifier; MIT may be meant");
}

TEST(About, AddressAndCitation) {
  EXPECT_EQ(url_problem("https://example.org/plugin"), "");
  EXPECT_THAT(url_problem("example.org"), HasSubstr("begins with https://"));
  EXPECT_THAT(url_problem("https://a b"), HasSubstr("begins with https://"));
  EXPECT_EQ(citation_problem("10.48550/arXiv.2309.09843"), "");
  EXPECT_EQ(citation_problem("https://doi.org/10.1109/DSN.2021.00018"), "");
  EXPECT_EQ(citation_problem("Chen et al., A low-cost fault corrector, DSN 2021"), "");
  EXPECT_THAT(citation_problem("10.1109"), HasSubstr("looks like a DOI and is none"));
  EXPECT_THAT(citation_problem("doi:10.x/y"), HasSubstr("looks like a DOI and is none"));
}

}  // namespace
}  // namespace bitfall::about_checks_test
