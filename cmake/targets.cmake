# A folder is a library. Its *_test.cc become one test program, each *_fuzz.cc a fuzzer, each
# *_bench.cc a benchmark: found by glob, so that none can be left out of the build.

function(tally_test name)
  # tally_test(name sources... LIBS libs...)
  cmake_parse_arguments(ARG "" "" "LIBS;LABELS" ${ARGN})
  add_executable(${name} ${ARG_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PRIVATE ${ARG_LIBS} tally_testing GTest::gmock GTest::gtest
                                        rapidcheck rapidcheck_gtest)
  target_compile_definitions(${name} PRIVATE TALLY_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}")
endfunction()

# tally_library(base DEPS fmt::fmt ...): library tally_<name> of the current folder.
function(tally_library name)
  cmake_parse_arguments(ARG "" "" "DEPS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS *.cc)
  file(GLOB tests CONFIGURE_DEPENDS *_test.cc)
  set(library_sources ${sources})
  list(FILTER library_sources EXCLUDE REGEX "_(test|fuzz|bench)\\.cc$")
  if(library_sources)
    add_library(tally_${name} STATIC ${library_sources})
    target_include_directories(tally_${name} PUBLIC ${CMAKE_SOURCE_DIR}/include
                                                    ${CMAKE_SOURCE_DIR}/src)
    target_link_libraries(tally_${name} PUBLIC ${ARG_DEPS})
  else()
    add_library(tally_${name} INTERFACE)
    target_link_libraries(tally_${name} INTERFACE ${ARG_DEPS})
  endif()
  if(TALLY_TESTS AND tests)
    tally_test(${name}_test ${tests} ${CMAKE_SOURCE_DIR}/testing/test_main.cc LIBS tally_${name})
  endif()
endfunction()
