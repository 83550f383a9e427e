# The libraries that are not ours (Debian 12 packages; `./dev setup` installs them).
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(Boost 1.81 REQUIRED COMPONENTS json container)
find_package(simdjson REQUIRED)
find_package(CLI11 REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(prometheus-cpp CONFIG REQUIRED COMPONENTS core)
find_package(ZLIB REQUIRED)
find_package(zstd REQUIRED)
find_package(date REQUIRED)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)

# BLAKE3: Debian 12 has no C package of it; this is the official C source, as the Rust crate's Debian
# package installs it.
set(BLAKE3_DIR /usr/share/cargo/registry/blake3-1.3.1/c)
add_library(blake3 STATIC ${BLAKE3_DIR}/blake3.c ${BLAKE3_DIR}/blake3_dispatch.c
                          ${BLAKE3_DIR}/blake3_portable.c)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  target_sources(blake3 PRIVATE
    ${BLAKE3_DIR}/blake3_sse2_x86-64_unix.S ${BLAKE3_DIR}/blake3_sse41_x86-64_unix.S
    ${BLAKE3_DIR}/blake3_avx2_x86-64_unix.S ${BLAKE3_DIR}/blake3_avx512_x86-64_unix.S)
endif()
target_include_directories(blake3 SYSTEM PUBLIC ${BLAKE3_DIR})
target_compile_options(blake3 PRIVATE -w)

if(TALLY_TESTS)
  find_package(GTest REQUIRED)
  find_package(rapidcheck REQUIRED)
  find_package(benchmark REQUIRED)
  find_package(SQLite3 REQUIRED)
endif()
