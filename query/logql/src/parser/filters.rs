//! Filters by labels. `and` binds tighter than `or`; a comma, or nothing between two, means `and` but takes all that follows, as
//! in Loki's grammar: `a="1", b="2" or c="3"` is `a="1" and (b="2" or c="3")`.

use super::*;

/// How two filters are joined, from the loosest to the tightest.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Join {
    /// A comma or nothing.
    All,
    Or,
    And,
}

impl Parser<'_> {
    /// `expecting` is what an error says that the filter may begin with.
    pub(super) fn label_filter(&mut self, expecting: &str) -> Parsed<LabelFilter> {
        self.enter()?;
        let filter = self.label_filters(expecting, Join::All)?;
        self.depth -= 1;
        Ok(filter)
    }

    /// What binds tighter than the join before it. How deep this goes is bounded by the count of operators.
    fn label_filters(&mut self, expecting: &str, before: Join) -> Parsed<LabelFilter> {
        let left = self.label_filter_one(expecting)?;
        self.label_filters_after(left, before)
    }

    fn label_filters_after(&mut self, mut left: LabelFilter, before: Join) -> Parsed<LabelFilter> {
        loop {
            let join = match self.peek() {
                Token::Ident(word) if word.eq_ignore_ascii_case("or") => Join::Or,
                Token::Ident(word) if word.eq_ignore_ascii_case("and") => Join::And,
                Token::Punct("," | "(") => Join::All,
                _ if self.at_name() => Join::All,
                _ => return Ok(left),
            };
            if join != Join::All && join <= before {
                return Ok(left);
            }
            if self.is(",") || join != Join::All {
                self.advance();
            }
            self.count_operator()?;
            let right = self.label_filters("IDENTIFIER or (", join)?;
            let (left_side, right) = (Box::new(left), Box::new(right));
            left = match join {
                Join::Or => LabelFilter::Or(left_side, right),
                Join::All | Join::And => LabelFilter::And(left_side, right),
            };
        }
    }

    /// As [`Parser::enclosed`].
    fn enclosed_filter(&mut self) -> Parsed<LabelFilter> {
        let mut open = 0usize;
        while self.take("(") {
            open += 1;
        }
        let mut filter = self.label_filter("IDENTIFIER or (")?;
        loop {
            if !self.take(")") {
                return Err(self.unexpected(""));
            }
            open -= 1;
            if open == 0 {
                return Ok(filter);
            }
            filter = self.label_filters_after(filter, Join::All)?;
        }
    }

    fn label_filter_one(&mut self, expecting: &str) -> Parsed<LabelFilter> {
        if self.is("(") {
            return self.enclosed_filter();
        }
        let name = self.ident_or(expecting)?;
        let Token::Punct(op) = *self.peek() else {
            return Err(self.unexpected(""));
        };
        let compare = match op {
            "=" | "==" => Some(Compare::Equal),
            "!=" => Some(Compare::NotEqual),
            ">" => Some(Compare::Greater),
            ">=" => Some(Compare::GreaterEqual),
            "<" => Some(Compare::Less),
            "<=" => Some(Compare::LessEqual),
            "=~" | "!~" => None,
            _ => return Err(self.unexpected("")),
        };
        self.advance();
        let text_op = match op {
            "=" => Some(Match::Equal),
            "!=" => Some(Match::NotEqual),
            "=~" => Some(Match::Regex),
            "!~" => Some(Match::NotRegex),
            _ => None,
        };
        if let (Token::Text(value), Some(text_op)) = (self.peek().clone(), text_op) {
            self.advance();
            return checked_matcher(name, text_op, value).map(LabelFilter::Text);
        }
        let Some(op_number) = compare else {
            return Err(self.unexpected("STRING"));
        };
        if self.function_ahead().as_deref() == Some("ip") {
            if !matches!(op, "=" | "!=") {
                return Err(self.unexpected(""));
            }
            let text = self.ip_text()?;
            let ip = IpMatch::parse(&text).unwrap_or_else(|| {
                let stage = format!("| {name}{}ip({})", if op == "=" { "=" } else { "!=" }, Quoted(&text));
                self.stage_faults.push(ParseError::of_stage(stage, no_address(&text)));
                IpMatch::none(&text)
            });
            return Ok(LabelFilter::Ip { name, negated: op == "!=", ip });
        }
        let (value, unit) = match *self.peek() {
            Token::Duration(ns) => (ns as f64, Unit::Duration),
            Token::Bytes(bytes) => (bytes as f64, Unit::Bytes),
            Token::Number(_) => (self.number(LITERAL)?, Unit::Plain),
            // What has a unit has no sign, but for durations, which have it in them.
            Token::Punct(sign @ ("-" | "+")) => {
                self.advance();
                let number = self.number(LITERAL)?;
                (if sign == "-" { -number } else { number }, Unit::Plain)
            }
            _ => return Err(self.unexpected("")),
        };
        if unit != Unit::Plain {
            self.advance();
        }
        Ok(LabelFilter::Number { name, op: op_number, value, unit })
    }
}
