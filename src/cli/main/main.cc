#include "cli/command.h"

int main(int argc, char** argv) { return tallystick::RunCli(argc, argv); }
