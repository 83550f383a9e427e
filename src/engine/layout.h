// Where things stand in a database's directory.
#pragma once

#include <string>

#include "env/env.h"

namespace tallystick {

struct Layout {
  explicit Layout(const std::string& directory)
      : root(directory),
        lock(JoinPath(root, "LOCK")),
        identity(JoinPath(root, "IDENTITY")),
        restoring(JoinPath(root, "RESTORING")),
        manifest_dir(JoinPath(root, "manifest")),
        wal_dir(JoinPath(root, "wal")),
        segment_dir(JoinPath(root, "segments")),
        repair(JoinPath(root, "REPAIR")) {}

  std::string root;
  std::string lock;
  std::string identity;
  std::string restoring;  // there only until a restore has finished
  std::string manifest_dir;
  std::string wal_dir;
  std::string segment_dir;
  std::string repair;  // there while a repair is under way (repair_journal.h)
};

}  // namespace tallystick
