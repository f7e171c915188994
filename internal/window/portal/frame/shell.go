package frame

import "strings"

// sections are the links of the navigation.
func sections(v Visitor) []Link {
	links := []Link{{"/", "Overview"}, {"/statements", "Statements"}, {"/releases", "Releases"}, {"/bases", "Bases"}, {"/advisories", "Advisories"}, {"/verify", "Verify a file"}}
	links = append(links, v.Links...)
	if v.SignedIn() {
		return append(links, Link{"/account", "Account"})
	}
	return append(links, Link{"/account", "Sign in"})
}

// data lists the formats that a page has besides itself.
func data(a *Answer) []string {
	if a.Status != 0 {
		return nil
	}
	var formats []string
	if a.Data != nil {
		formats = append(formats, "json")
	}
	if a.Table != nil {
		formats = append(formats, "csv")
	}
	return formats
}

func upper(s string) string { return strings.ToUpper(s) }

func clip(s string, most int) string {
	head, more := clipped(s, most)
	if more != "" {
		return head + "…"
	}
	return head
}
