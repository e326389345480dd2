#include "securatlas/pg/border/error.hpp"

namespace securatlas::pg {

std::string error_text(const std::exception& error) {
    std::string text = std::string("ERROR: ") + error.what();
    const auto* known = dynamic_cast<const Error*>(&error);
    if (known == nullptr) return text;
    if (!known->detail().empty()) text += "\nDETAIL: " + known->detail();
    if (!known->hint().empty()) text += "\nHINT: " + known->hint();
    if (!known->context().empty()) text += "\nCONTEXT: " + known->context();
    return text;
}

}  // namespace securatlas::pg
