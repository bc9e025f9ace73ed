//! Every variable is declared and every called template defined: checked when a file is read, not when an alert fires.

use super::parse::{Node, Operand, Parsed, Pipeline};

/// What every template begins with; `$` is the empty name.
const GIVEN: [&str; 5] = ["", "labels", "externalLabels", "externalURL", "value"];

pub fn check(parsed: &Parsed) -> Result<(), String> {
    let mut names = Names { parsed, scope: GIVEN.iter().map(|name| (*name).to_owned()).collect() };
    names.nodes(&parsed.nodes)?;
    // A defined text sees only its own `.`, which is also `$`.
    for (_, body) in &parsed.defined {
        Names { parsed, scope: vec![String::new()] }.nodes(body)?;
    }
    Ok(())
}

struct Names<'p> {
    parsed: &'p Parsed,
    scope: Vec<String>,
}

impl Names<'_> {
    fn nodes(&mut self, nodes: &[Node]) -> Result<(), String> {
        let outer = self.scope.len();
        for node in nodes {
            self.node(node)?;
        }
        self.scope.truncate(outer);
        Ok(())
    }

    fn node(&mut self, node: &Node) -> Result<(), String> {
        let outer = self.scope.len();
        match node {
            Node::Text(_) => return Ok(()),
            // What it declares is known to what follows.
            Node::Pipeline(pipeline) => return self.pipeline(pipeline),
            Node::If { arms, otherwise } => {
                for (condition, body) in arms {
                    self.pipeline(condition)?;
                    self.nodes(body)?;
                }
                self.nodes(otherwise)?;
            }
            Node::Range { over, body, otherwise } | Node::With { value: over, body, otherwise } => {
                self.pipeline(over)?;
                self.nodes(body)?;
                self.nodes(otherwise)?;
            }
            Node::Call { name, dot } => {
                if !self.parsed.defined.iter().any(|(known, _)| known == name) {
                    return Err(format!("template {name:?} is not defined here"));
                }
                dot.as_ref().map_or(Ok(()), |dot| self.pipeline(dot))?;
            }
        }
        self.scope.truncate(outer);
        Ok(())
    }

    fn pipeline(&mut self, pipeline: &Pipeline) -> Result<(), String> {
        for operand in pipeline.commands.iter().flatten() {
            match operand {
                Operand::Variable(name, _) if !self.scope.contains(name) => {
                    return Err(format!(
                        "${name} is not declared; known are $labels, $value and $externalURL"
                    ));
                }
                Operand::Nested(inside, _) => self.pipeline(inside)?,
                _ => {}
            }
        }
        for name in &pipeline.variables {
            if pipeline.assigns && !self.scope.contains(name) {
                return Err(format!("${name} is not declared; write :="));
            }
            self.scope.push(name.clone());
        }
        Ok(())
    }
}
