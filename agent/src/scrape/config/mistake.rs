//! A mistake in a file of jobs, and where it stands: the parser tells it in words that are for programs, and a place that is
//! often only near.

/// What is wrong, and where it stands.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{line}:{column}: {text}")]
pub struct Mistake {
    pub line: usize,
    pub column: usize,
    pub text: String,
}

pub(super) fn mistake(file: &str, wrong: &serde_yaml_ng::Error) -> Mistake {
    let (line, column) = wrong.location().map_or((1, 1), |at| (at.line(), at.column()));
    let text = wrong.to_string();
    let (line, column) = place_of_value(file, &text, line).unwrap_or((line, column));
    let text = text.split(" at line ").next().unwrap_or(&text);
    // Prometheus has some thirty kinds of discovery.
    let of_discovery = text.split('`').find(|word| word.ends_with("_sd_configs"));
    let text = match of_discovery.filter(|word| text.contains(&format!("unknown field `{word}`"))) {
        Some(field) => format!(
            "{field} is not supported; use static_configs, file_sd_configs, http_sd_configs or dns_sd_configs"
        ),
        // Without the list of everything that it might have been.
        None => text.split(", expected one of").next().unwrap_or(text).to_owned(),
    };
    Mistake { line, column, text }
}

/// Of a value that is wrong the parser knows only where its mapping begins; the message has the value itself.
fn place_of_value(file: &str, message: &str, from: usize) -> Option<(usize, usize)> {
    let value = message.split('"').nth(1).filter(|value| !value.is_empty())?;
    let lines = file.lines().enumerate().skip(from.saturating_sub(1));
    lines.map(|(line, text)| (line + 1, text.find(value))).find_map(|(line, at)| Some((line, at? + 1)))
}

/// The line on which a job begins: the parser keeps none for what it has read.
pub(super) fn place_of_job(text: &str, number: usize) -> (usize, usize) {
    let lines = text.lines().enumerate();
    let mut begins = lines.filter_map(|(line, text)| Some((line + 1, text.find("job_name")? + 1)));
    begins.nth(number).unwrap_or((1, 1))
}
