// Status and Result: how every fallible call of Tallystick answers.
//
// Three faults are told apart (and only the first two are ever a Status):
//   caller's mistake  -> kInvalidArgument, kNotFound, kFailedPrecondition
//   the world's fault -> kIoError, kCorruption, kNoSpace, kUnavailable
//   our own           -> TALLY_CHECK aborts the process
// No exception crosses this API. Both classes are [[nodiscard]]; a deliberate drop is written as
// IgnoreError(status, "why").
//
// Thread rule: values, like std::string.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace tallystick {

// Coarse and stable; never reordered. The fine word is Status::reason().
enum class StatusCode : uint8_t {
  kOk = 0,
  kInvalidArgument = 1,     // the caller's value is wrong; trying again changes nothing
  kNotFound = 2,            // what was asked for does not exist
  kFailedPrecondition = 3,  // right call, wrong state (locked by another process, closed, ...)
  kCorruption = 4,          // bytes on disk are not what was written; message has file and offset
  kIoError = 5,             // the operating system refused; message has file, call and errno
  kNoSpace = 6,             // ENOSPC or EDQUOT; heals when space is freed
  kUnavailable = 7,         // overload or a state that may pass; try again later
};

std::string_view StatusCodeName(StatusCode code);  // "ok", "invalid_argument", ...

class [[nodiscard]] Status {
 public:
  Status() = default;  // ok

  // `reason` is a stable snake_case word for programs ("queue_full"); empty means the code's name.
  Status(StatusCode code, std::string_view reason, std::string_view message)
      : code_(code), reason_(reason), message_(message) {}

  static Status Ok() { return {}; }
  static Status InvalidArgument(std::string_view reason, std::string_view message) {
    return {StatusCode::kInvalidArgument, reason, message};
  }
  static Status NotFound(std::string_view reason, std::string_view message) {
    return {StatusCode::kNotFound, reason, message};
  }
  static Status FailedPrecondition(std::string_view reason, std::string_view message) {
    return {StatusCode::kFailedPrecondition, reason, message};
  }
  static Status Corruption(std::string_view message) {
    return {StatusCode::kCorruption, "corruption", message};
  }
  static Status IoError(std::string_view message) {
    return {StatusCode::kIoError, "io_error", message};
  }
  static Status NoSpace(std::string_view message) {
    return {StatusCode::kNoSpace, "no_space", message};
  }
  static Status Unavailable(std::string_view reason, std::string_view message) {
    return {StatusCode::kUnavailable, reason, message};
  }

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  std::string_view reason() const { return reason_.empty() ? StatusCodeName(code_) : reason_; }
  const std::string& message() const { return message_; }
  std::string ToString() const;  // "corruption: wal/000003 at 4096: ..."

  // The same status with `context` and ": " put before its message.
  Status WithContext(std::string_view context) const;

 private:
  StatusCode code_ = StatusCode::kOk;
  std::string reason_;
  std::string message_;
};

// For a status that may be dropped; `why` is for the reader.
inline void IgnoreError(const Status& /*status*/, const char* /*why*/) {}

// A value or the Status that says why there is none. value() and operator* require ok().
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : rep_(std::move(value)) {}  // NOLINT: implicit on purpose
  template <typename U>
    requires(std::is_convertible_v<U &&, T> && !std::is_same_v<std::remove_cvref_t<U>, Result> &&
             !std::is_same_v<std::remove_cvref_t<U>, Status>)
  Result(U&& value) : rep_(T(std::forward<U>(value))) {}  // NOLINT: unique_ptr to base and the like
  Result(Status status) : rep_(std::unexpected(std::move(status))) {}  // NOLINT

  bool ok() const { return rep_.has_value(); }
  Status status() const { return ok() ? Status::Ok() : rep_.error(); }
  T& value() & { return rep_.value(); }
  const T& value() const& { return rep_.value(); }
  T&& value() && { return std::move(rep_).value(); }
  T& operator*() & { return rep_.value(); }
  const T& operator*() const& { return rep_.value(); }
  T&& operator*() && { return std::move(rep_).value(); }
  T* operator->() { return &rep_.value(); }
  const T* operator->() const { return &rep_.value(); }

 private:
  std::expected<T, Status> rep_;
};

}  // namespace tallystick
