// The message with which bad input is refused.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "error.h"

namespace bitfall {

/// what() of the Error(kInput) that the action must throw.
inline std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kInput);
    return error.what();
  }
  ADD_FAILURE() << "nothing was refused";
  return "";
}

}  // namespace bitfall
