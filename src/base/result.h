// The two early returns that every fallible function is made of.
#pragma once

#include "tallystick/status.h"

#define TALLY_CONCAT_INNER(a, b) a##b
#define TALLY_CONCAT(a, b) TALLY_CONCAT_INNER(a, b)

#define TALLY_RETURN_IF_ERROR(expression)             \
  do {                                                \
    ::tallystick::Status tally_status = (expression); \
    if (!tally_status.ok()) return tally_status;      \
  } while (false)

// TALLY_ASSIGN_OR_RETURN(auto file, fs.Open(...));
#define TALLY_ASSIGN_OR_RETURN(declaration, expression) \
  TALLY_ASSIGN_OR_RETURN_INNER(TALLY_CONCAT(tally_result_, __LINE__), declaration, expression)
#define TALLY_ASSIGN_OR_RETURN_INNER(temporary, declaration, expression) \
  auto temporary = (expression);                                         \
  if (!temporary.ok()) return temporary.status();                        \
  declaration = std::move(temporary).value()
