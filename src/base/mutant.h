// Deliberate durability bugs, to show that the tests notice them. They exist only in a build with
// TALLY_MUTANTS (the `mutants` preset, test programs only); everywhere else TALLY_MUTANT is the
// constant false. The bug is chosen at run time by the environment variable TALLY_MUTANT, or by
// SetActiveMutant. Every name is listed in docs/evidence.md with the test that catches it.
#pragma once

#ifdef TALLY_MUTANTS
namespace tallystick {
bool MutantActive(const char* name);  // `name` is in the list of mutant.cc, else the process aborts
}  // namespace tallystick
#define TALLY_MUTANT(name) ::tallystick::MutantActive(name)
#else
#define TALLY_MUTANT(name) false
#endif
