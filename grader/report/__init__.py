"""Reports: how practice goes, one kata, or a mock interview; as one HTML file, as Markdown, as JSON."""
