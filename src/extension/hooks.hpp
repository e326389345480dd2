// Hooks into the server: statements that concern whole databases, and changes of the extension.
#pragma once

namespace securatlas::extension {

void install_hooks();

}  // namespace securatlas::extension
