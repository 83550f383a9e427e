# Runs PROGRAM twice on DIRECTORY, emptied before, and compares what it prints.
set(reads "gpu_hours eu: 0.3\ncall-1 at 1700000000001\ncall-2 at 1700000000002\n"
          "call-3 at 1700000000003\ncall-2 has LSN 2\n")
list(JOIN reads "" reads)
set(again "again: 0 accepted, 3 duplicates\n${reads}")
file(REMOVE_RECURSE ${DIRECTORY})
foreach(first "first: 3 accepted, 0 duplicates\n" "first: 0 accepted, 3 duplicates\n")
  execute_process(COMMAND ${PROGRAM} ${DIRECTORY} OUTPUT_VARIABLE printed COMMAND_ERROR_IS_FATAL ANY)
  if(NOT printed STREQUAL "${first}${again}")
    message(FATAL_ERROR "printed:\n${printed}\nexpected:\n${first}${again}")
  endif()
endforeach()
