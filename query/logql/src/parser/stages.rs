//! What stands behind a selector: line filters, parsers and formats. What reads and does not hold is told once all of the
//! query was read, with the stage as the printer writes it.

use super::*;
use crate::pipeline::ERROR;
use crate::pipeline::paths::{logfmt_key, parse_path};
use crate::pipeline::pattern::LinePattern;
use crate::template::Template;
use model::Regexp;

impl Parser<'_> {
    /// All up to what is no stage, or is `unwrap`.
    pub(super) fn stages(&mut self) -> Parsed<Vec<Stage>> {
        let (mut stages, mut faults) = (vec![], vec![]);
        while self.at_stage() && !self.at_unwrap() {
            if stages.len() >= STAGES_MAX {
                return Err(self.error(format!("pipeline has more than {STAGES_MAX} stages")));
            }
            let before = self.stage_faults.len();
            let stage = if self.is("|") { self.piped_stage()? } else { Stage::Line(self.line_filter()?) };
            let found = self.stage_faults.split_off(before);
            faults.extend(found.into_iter().next().map(|why| (stages.len(), why)));
            stages.push(stage);
        }
        self.stage_faults.extend(first_fault(&stages, &faults));
        Ok(stages)
    }

    fn line_filter(&mut self) -> Parsed<LineFilter> {
        let first = self.advance();
        let (op, negated) = match first {
            Token::Punct("|=") => (LineOp::Contains, false),
            Token::Punct("!=") => (LineOp::Contains, true),
            Token::Punct("|~") => (LineOp::Regex, false),
            Token::Punct("!~") => (LineOp::Regex, true),
            Token::Punct("|>") => (LineOp::Pattern, false),
            _ => (LineOp::Pattern, true),
        };
        let mut any = vec![self.line_match(op)?];
        while self.is_word("or") {
            self.advance();
            // They lie side by side, however many there are: no level of the tree each.
            if any.len() >= ALTERNATIVES_MAX {
                return Err(self.error(format!("line filter has more than {ALTERNATIVES_MAX} alternatives")));
            }
            any.push(self.line_match(op)?);
        }
        Ok(LineFilter { op, negated, any })
    }

    fn line_match(&mut self, op: LineOp) -> Parsed<LineMatch> {
        if self.function_ahead().as_deref() == Some("ip") {
            let text = self.ip_text()?;
            let found = match op {
                LineOp::Contains => IpMatch::parse(&text).ok_or_else(|| no_address(&text)),
                _ => Err("ip: invalid operation".to_owned()),
            };
            return Ok(match found {
                Ok(ip) => LineMatch::Ip(ip),
                Err(why) => {
                    self.stage_faults.push(ParseError::of(why));
                    LineMatch::Ip(IpMatch::none(&text))
                }
            });
        }
        let text = match self.peek() {
            Token::Text(text) => text.clone(),
            _ => return Err(self.unexpected("STRING or ip")),
        };
        self.advance();
        let found = match op {
            LineOp::Contains => Ok(LineMatch::Text(text.clone())),
            LineOp::Regex => Regexp::parse(&closed_escape(&text)).map(LineMatch::Regex),
            LineOp::Pattern => LinePattern::for_filter(&text).map(LineMatch::Pattern),
        };
        Ok(found.unwrap_or_else(|why| {
            self.stage_faults.push(ParseError::of(why));
            LineMatch::Text(text)
        }))
    }

    pub(super) fn ip_text(&mut self) -> Parsed<String> {
        self.advance();
        self.expect("(")?;
        let text = self.string()?;
        self.expect(")")?;
        Ok(text)
    }

    fn piped_stage(&mut self) -> Parsed<Stage> {
        self.expect("|")?;
        let word = match self.peek() {
            Token::Ident(word) => word.to_ascii_lowercase(),
            Token::Punct("(") => return self.label_filter("").map(Stage::Label),
            _ => return Err(self.unexpected("")),
        };
        Ok(match word.as_str() {
            "json" => {
                self.advance();
                Stage::Json(self.json_fields()?)
            }
            "logfmt" => {
                self.advance();
                self.logfmt()?
            }
            "regexp" => {
                self.advance();
                let text = self.string()?;
                let refuse = |why| ParseError::of(format!("invalid regexp parser: {why}"));
                Stage::Regexp(check::named_regex(&text).map_err(refuse)?)
            }
            "pattern" => {
                self.advance();
                let text = self.string()?;
                let refuse = |why| ParseError::of(format!("invalid pattern parser: {why}"));
                Stage::Pattern(LinePattern::for_parser(&text).map_err(refuse)?)
            }
            "unpack" => {
                self.advance();
                Stage::Unpack
            }
            "decolorize" => {
                self.advance();
                Stage::Decolorize
            }
            "line_format" => {
                self.advance();
                let text = self.string()?;
                let template = Template::parse("line", &text).unwrap_or_else(|why| {
                    let stage = format!("| line_format {}", Quoted(&text));
                    let why = format!("invalid line template: {why}");
                    self.stage_faults.push(ParseError::of_stage(stage, why));
                    Template::unread(&text)
                });
                Stage::LineFormat(template)
            }
            "label_format" => {
                self.advance();
                self.label_format()?
            }
            "drop" | "keep" => {
                self.advance();
                let picks = self.label_picks()?;
                if word == "drop" { Stage::Drop(picks) } else { Stage::Keep(picks) }
            }
            _ => Stage::Label(self.label_filter("")?),
        })
    }

    fn json_fields(&mut self) -> Parsed<Vec<JsonField>> {
        let (mut fields, mut fault) = (Vec::new(), None);
        while self.at_name() {
            let (label, path) = self.extraction()?;
            match parse_path(&path) {
                Ok(steps) => fields.push(JsonField { label, path, steps }),
                Err(why) => {
                    fault.get_or_insert(format!("cannot parse expression [{path}]: {why}"));
                    fields.push(JsonField { label, path, steps: vec![] });
                }
            }
            if !self.take(",") {
                break;
            }
            if !self.at_name() {
                return Err(self.unexpected("IDENTIFIER"));
            }
        }
        if let Some(why) = fault {
            self.stage_faults.push(ParseError::of_stage(Stage::Json(fields.clone()), why));
        }
        Ok(fields)
    }

    /// `label="source"`, or `label` for both.
    fn extraction(&mut self) -> Parsed<(String, String)> {
        let label = self.ident()?;
        let source = if self.take("=") { self.string()? } else { label.clone() };
        Ok((label, source))
    }

    fn logfmt(&mut self) -> Parsed<Stage> {
        let (mut strict, mut keep_empty) = (false, false);
        while let Token::Flag(flag) = self.peek() {
            match flag.as_str() {
                "strict" => strict = true,
                _ => keep_empty = true,
            }
            self.advance();
        }
        let (mut fields, mut fault) = (Vec::new(), None);
        while self.at_name() {
            let (label, written) = self.extraction()?;
            match logfmt_key(&written) {
                Ok(key) => fields.push(LogfmtField { label, key }),
                Err(why) => {
                    fault.get_or_insert(format!("cannot parse expression [{written}]: {why}"));
                    fields.push(LogfmtField { label, key: written });
                }
            }
            if !self.take(",") {
                break;
            }
            if !self.at_name() {
                return Err(self.unexpected("IDENTIFIER"));
            }
        }
        let stage = Stage::Logfmt { strict, keep_empty, fields };
        if let Some(why) = fault {
            self.stage_faults.push(ParseError::of_stage(&stage, why));
        }
        Ok(stage)
    }

    fn label_format(&mut self) -> Parsed<Stage> {
        let mut formats: Vec<LabelFormat> = Vec::new();
        let (mut of_names, mut of_templates) = (None, None);
        loop {
            let to = self.ident()?;
            let used = formats.iter().any(|format| format.to() == to);
            if to == ERROR {
                of_names.get_or_insert(format!("{ERROR} cannot be formatted"));
            } else if used {
                of_names.get_or_insert(format!(
                    "multiple label name '{to}' not allowed in a single format operation"
                ));
            }
            self.expect("=")?;
            formats.push(match self.peek().clone() {
                Token::Text(text) => {
                    self.advance();
                    let template = Template::parse("label", &text).unwrap_or_else(|why| {
                        of_templates.get_or_insert(format!("invalid template for label '{to}': {why}"));
                        Template::unread(&text)
                    });
                    LabelFormat::Template { to, template }
                }
                _ => LabelFormat::Rename { to, from: self.ident_or("IDENTIFIER or STRING")? },
            });
            if !self.take(",") {
                break;
            }
        }
        let stage = Stage::LabelFormat(formats);
        if let Some(why) = of_names.or(of_templates) {
            self.stage_faults.push(ParseError::of_stage(&stage, why));
        }
        Ok(stage)
    }

    fn label_picks(&mut self) -> Parsed<Vec<LabelPick>> {
        let mut picks = Vec::new();
        loop {
            let matcher = matches!(self.peek_after(), Token::Punct("=" | "!=" | "=~" | "!~"));
            picks.push(match matcher {
                true => LabelPick::Matching(self.matcher()?),
                false => LabelPick::Name(self.ident()?),
            });
            if !self.take(",") {
                return Ok(picks);
            }
        }
    }
}

/// What Loki tells first of the faults of stages. It moves line filters to the front, up to where a line is rewritten or
/// labels are filtered, makes one stage of them, and reads that from its end.
fn first_fault(stages: &[Stage], faults: &[(usize, ParseError)]) -> Option<ParseError> {
    let ends = |stage: &Stage| matches!(stage, Stage::Label(_) | Stage::LineFormat(_) | Stage::Unpack);
    let start_of = |at: usize| stages[..at].iter().rposition(ends).map_or(0, |end| end + 1);
    let is_line = |stage: &Stage| matches!(stage, Stage::Line(_));
    let (first, of_first) = faults.first()?;
    let start = start_of(*first);
    let mut of_run = faults.iter().filter(|(at, _)| start_of(*at) == start);
    let Some((_, why)) = of_run.rfind(|(at, _)| is_line(&stages[*at])) else {
        return Some(of_first.clone());
    };
    let run = stages[start..].iter().take_while(|&stage| !ends(stage));
    let filters: Vec<String> = run.filter(|&stage| is_line(stage)).map(Stage::to_string).collect();
    Some(ParseError::of_stage(filters.join(" "), &why.message))
}
