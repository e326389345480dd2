// Hooks into the server: statements that concern whole databases, and DROP EXTENSION.
#pragma once

namespace securatlas::extension {

void install_hooks();

}  // namespace securatlas::extension
