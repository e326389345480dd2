// Lines of a request's head, as the list that libcurl expects.
#pragma once

#include <curl/curl.h>

#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace securatlas::http {

// Its memory is used again for the next request: curl_slist_append() allocates twice for each line.
class HeaderLines {
  public:
    void clear() {
        text_.clear();
        starts_.clear();
        nodes_.clear();
    }

    // Adds a line that consists of these parts.
    void add(std::initializer_list<std::string_view> parts) {
        starts_.push_back(text_.size());
        for (const std::string_view part : parts) text_.append(part);
        text_.push_back('\0');
    }

    // Valid until clear() or add(); libcurl does not copy it.
    curl_slist* list() {
        nodes_.resize(starts_.size());
        for (std::size_t i = 0; i < nodes_.size(); ++i) {
            nodes_[i] = {text_.data() + starts_[i],
                         i + 1 < nodes_.size() ? &nodes_[i + 1] : nullptr};
        }
        return nodes_.data();
    }

  private:
    std::string text_;
    std::vector<std::size_t> starts_;
    std::vector<curl_slist> nodes_;
};

}  // namespace securatlas::http
