#include "server/backup_json.h"

#include <fmt/format.h>

#include "base/json_reader.h"
#include "base/utf8.h"
#include "server/json_writer.h"

namespace tallystick {
namespace {

// A fault of a value never stops the reading: the rest must still be JSON.
class BodyReader {
 public:
  Result<BackupBody> Read(std::string_view text) {
    const bool begun = json_.Begin(text);
    if (begun && !json_.IsObject()) {
      if (json_.WalkOther()) return Invalid("the body must be an object");
    } else if (begun && ReadObject()) {
      if (!fault_.ok()) return fault_;
      if (!has_target_) return Invalid("`target` is missing");
      return std::move(out_);
    }
    return json_.FaultStatus();
  }

 private:
  static Status Invalid(std::string_view why) {
    return Status::InvalidArgument("invalid_parameter", why);
  }
  void Refuse(std::string_view why) {
    if (fault_.ok()) fault_ = Invalid(why);
  }

  bool ReadObject() {
    JsonReader::Object object;
    if (const auto error = json_.document().get_object().get(object)) return json_.Fault(error);
    for (auto result : object) {
      if (result.error()) return json_.Fault(result.error());
      JsonReader::Field& field = JsonReader::InPlace(result);
      std::string_view name;
      if (!json_.ReadKey(field, &name)) return false;
      if (!ReadValue(std::string(name), field.value())) return false;
    }
    return json_.End();
  }

  bool ReadValue(const std::string& name, JsonReader::Value& value) {
    const bool is_target = name == "target";
    if (!is_target && name != "copy") {
      Refuse(fmt::format("`{}` is unknown: there are `target` and `copy`", Shown(name)));
      return json_.Walk(value, 1);
    }
    bool& seen = is_target ? has_target_ : has_copy_;
    if (std::exchange(seen, true)) Refuse(fmt::format("`{}` occurs twice", name));
    if (is_target && JsonReader::IsString(value)) {
      std::string_view text;
      if (!json_.ReadString(value, &text)) return false;
      out_.target = text;
      return true;
    }
    const std::string_view token = JsonReader::Token(value);
    if (!is_target && (token == "true" || token == "false")) {
      out_.options.copy = token == "true";
    } else {
      Refuse(fmt::format("`{}` must be {}", name, is_target ? "a string" : "true or false"));
    }
    return json_.Walk(value, 1);
  }

  JsonReader json_;
  BackupBody out_;
  Status fault_;
  bool has_target_ = false;
  bool has_copy_ = false;
};

}  // namespace

Result<BackupBody> ParseBackupBody(std::string_view text) { return BodyReader().Read(text); }

std::string BackupInfoToJson(const BackupInfo& info) {
  std::string out = fmt::format(R"({{"bytes":{},"created_at_ms":{},"database_id":"{}","files":{},)"
                                R"("incarnation":"{}","lsn":{},"target":)",
                                info.bytes, info.created_us / 1000, info.database_id, info.files,
                                info.incarnation, info.lsn.value);
  AppendJsonString(out, info.directory);
  return out + '}';
}

std::string BackupReportToJson(const BackupReport& report) {
  const BackupInfo& info = report.backup;
  std::string out = fmt::format(
      R"({{"bytes":{},"copied_bytes":{},"copied_files":{},"created_at_ms":{},"database_id":"{}",)"
      R"("files":{},"incarnation":"{}","kept_files":{},"linked_files":{},"lsn":{},)"
      R"("removed_files":{},"target":)",
      info.bytes, report.copied_bytes, report.copied_files, info.created_us / 1000,
      info.database_id, info.files, info.incarnation, report.kept_files, report.linked_files,
      info.lsn.value, report.removed_files);
  AppendJsonString(out, info.directory);
  return out + '}';
}

}  // namespace tallystick
