use std::collections::BTreeMap;

use generation::{Chat, ChatTemplate};
use serde_json::{Map, Value, json};

/// Roles whose contents a template may read differently.
const ROLES: [&str; 3] = ["system", "user", "assistant"];

/// In which form a chat template reads what messages contain: a text, or a list of parts.
///
/// Templates of models that see often know parts only and leave a text out without a word; those of language models that
/// were made for text know texts only. Which it is, is found out once, with a conversation of texts that stand nowhere else.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct ContentForms {
    roles: BTreeMap<&'static str, Forms>,
}

/// What a template reads of one role. Neither: it has no place for the role, or says itself what is wrong.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Forms {
    text: bool,
    parts: bool,
}

/// How one message of a trial is written.
#[derive(Clone, Copy)]
enum Form {
    Text,
    Parts,
}

impl ContentForms {
    /// Tries a template. `image_token`: what it writes for a picture.
    pub(super) fn of(template: &ChatTemplate, variables: &Map<String, Value>, image_token: &str) -> Self {
        // A template whose parts show no pictures may know texts, in which the token is as good.
        let seeing = Self::tried(template, variables, Some(image_token));
        if seeing.roles.is_empty() { Self::tried(template, variables, None) } else { seeing }
    }

    fn tried(template: &ChatTemplate, variables: &Map<String, Value>, image_token: Option<&str>) -> Self {
        let mut found = Self::default();
        let survives = |messages: &[(&str, Form)]| survives(template, variables, image_token, messages);
        let mut conversation = None;
        for user in [Form::Text, Form::Parts] {
            for assistant in [Form::Text, Form::Parts] {
                let messages = [("user", user), ("assistant", assistant), ("user", user)];
                if survives(&messages) {
                    found.note("user", user);
                    found.note("assistant", assistant);
                    conversation = Some(messages);
                }
            }
        }
        if let Some([first, second, third]) = conversation {
            for system in [Form::Text, Form::Parts] {
                if survives(&[("system", system), first, second, third]) {
                    found.note("system", system);
                }
            }
        }
        found
    }

    fn note(&mut self, role: &'static str, form: Form) {
        let forms = self.roles.entry(role).or_default();
        match form {
            Form::Text => forms.text = true,
            Form::Parts => forms.parts = true,
        }
    }

    /// Messages as the template reads them: what it would not read in its form is put into the other.
    pub(crate) fn apply(&self, messages: &mut [Value], image_token: &str) {
        for message in messages {
            let role = message.get("role").and_then(Value::as_str).unwrap_or_default();
            // Other roles, a tool's for one, are read as the user's most likely.
            let role = if ROLES.contains(&role) { role } else { "user" };
            let Some(forms) = self.roles.get(role).copied() else { continue };
            let Some(content) = message.get_mut("content") else { continue };
            match content {
                Value::String(text) if !forms.text => *content = json!([{"type": "text", "text": text}]),
                Value::Array(parts) if !forms.parts => *content = flattened(parts, image_token).into(),
                _ => {}
            }
        }
    }
}

/// Parts as one text, in which the image token stands for a picture.
fn flattened(parts: &[Value], image_token: &str) -> String {
    let text = |part: &Value| match part.get("type").and_then(Value::as_str) {
        Some("image") => Some(image_token.to_owned()),
        _ => part.get("text").and_then(Value::as_str).map(str::to_owned),
    };
    parts.iter().filter_map(text).collect::<Vec<_>>().join("\n")
}

/// Whether all that a conversation says is in what a template writes of it. Its first message of the user in parts has a
/// picture, if there is a token for it.
fn survives(
    template: &ChatTemplate,
    variables: &Map<String, Value>,
    image_token: Option<&str>,
    messages: &[(&str, Form)],
) -> bool {
    let said: Vec<String> = (0..messages.len()).map(|at| format!("vq{at}xkz{at}wj")).collect();
    let mut picture = image_token;
    let mut pictures = 0;
    let mut write = |((role, form), said): (&(&str, Form), &String)| match form {
        Form::Text => json!({"role": role, "content": said}),
        Form::Parts => {
            let mut parts = vec![json!({"type": "text", "text": said})];
            if *role == "user" && picture.take().is_some() {
                parts.insert(0, json!({"type": "image"}));
                pictures += 1;
            }
            json!({"role": role, "content": parts})
        }
    };
    let written = messages.iter().zip(&said).map(&mut write).collect();
    let chat = Chat { variables: variables.clone(), ..Chat::new(written) };
    let Ok(rendered) = template.render(&chat) else { return false };
    let shown = image_token.is_none_or(|token| rendered.matches(token).count() == pictures);
    shown && said.iter().all(|said| rendered.contains(said))
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: &str = "<image>";

    fn forms(source: &str) -> ContentForms {
        ContentForms::of(&ChatTemplate::new(source).unwrap(), &Map::new(), IMAGE)
    }

    fn role(forms: &ContentForms, role: &str) -> (bool, bool) {
        forms.roles.get(role).map_or((false, false), |forms| (forms.text, forms.parts))
    }

    /// What a template writes of a conversation.
    fn written(source: &str, messages: &[Value]) -> String {
        let mut messages = messages.to_vec();
        forms(source).apply(&mut messages, IMAGE);
        ChatTemplate::new(source).unwrap().render(&Chat::new(messages)).unwrap()
    }

    /// Pictures, then texts, of any role; a text's letters are no parts.
    const PARTS_ONLY: &str = "{% for message in messages %}{% if message['role'] != 'system' %}\
        {{ message['role'].upper() + ': ' }}{% endif %}\
        {% for part in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}\
        {% for part in message['content'] | selectattr('type', 'equalto', 'text') %}{{ part['text'] + ' ' }}{% endfor %}\
        {% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}";

    /// Instructions are the first part's text, an answer too.
    const FIRST_PART: &str = "{% for message in messages %}{% if message['role'] == 'system' %}\
        {{ '<<SYS>>\n' + message['content'][0]['text'] + '\n<</SYS>>\n\n' }}{% elif message['role'] == 'user' %}{{ '[INST] ' }}\
        {% for part in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}\
        {% for part in message['content'] | selectattr('type', 'equalto', 'text') %}{{ part['text'] }}{% endfor %}\
        {{ ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ ' ' + message['content'][0]['text'] + '</s> ' }}\
        {% else %}{{ raise_exception('no such role') }}{% endif %}{% endfor %}";

    /// Turns between marks, pictures before texts.
    const MARKED: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + ' ' }}\
        {% for part in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>' }}{% endfor %}\
        {% for part in message['content'] | selectattr('type', 'equalto', 'text') %}{{ '\n' + part['text'] }}{% endfor %}\
        {{ '<|im_end|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

    const TEXTS_ONLY: &str =
        "{% for message in messages %}{{ message.role + ':' + message.content }};{% endfor %}assistant:";

    /// Instructions and answers are texts, and what the user says is in parts.
    const MIXED: &str = "{% for message in messages %}{{ message.role }}:{% if message.role == 'user' %}\
        {% for part in message.content %}{% if part.type == 'image' %}<image>{% else %}{{ part.text }}{% endif %}{% endfor %}\
        {% else %}{{ message.content + '' }}{% endif %};{% endfor %}";

    /// Parts without pictures, and texts.
    const BLIND: &str = "{% for message in messages %}{{ message.role }}:{% if message.content is string %}\
        {{ message.content }}{% else %}{% for part in message.content if part.type == 'text' %}{{ part.text }}{% endfor %}\
        {% endif %};{% endfor %}";

    #[test]
    fn what_a_template_reads_is_found_for_each_role() {
        let (text, parts) = ((true, false), (false, true));
        for (source, system, user, assistant) in [
            (PARTS_ONLY, parts, parts, parts),
            (FIRST_PART, parts, parts, parts),
            (MARKED, parts, parts, parts),
            (TEXTS_ONLY, text, text, text),
            (MIXED, text, parts, text),
            (BLIND, (true, true), text, (true, true)),
        ] {
            let forms = forms(source);
            let found = ["system", "user", "assistant"].map(|name| role(&forms, name));
            assert_eq!(found, [system, user, assistant], "{source}");
        }
        // One that writes nothing of what is said, or fails, is left to itself.
        for source in ["fixed", "{{ raise_exception('never') }}"] {
            assert_eq!(forms(source), ContentForms::default());
        }
        // No pictures and no texts, but parts.
        let source = "{% for message in messages %}{% for part in message.content if part.type == 'text' %}{{ part.text }}{% endfor %}{% endfor %}";
        assert_eq!(role(&forms(source), "user"), parts);
    }

    #[test]
    fn roles_that_a_template_refuses_are_left_to_it() {
        let source = format!(
            "{{% if messages[0].role == 'system' %}}{{{{ raise_exception('no system') }}}}{{% endif %}}{PARTS_ONLY}"
        );
        let forms = forms(&source);
        assert_eq!(role(&forms, "system"), (false, false));
        assert_eq!(role(&forms, "user"), (false, true));
    }

    #[test]
    fn a_text_that_another_contains_is_not_left_out() {
        let ask = |text: &str| json!({"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]});
        let again = json!({"role": "user", "content": [{"type": "text", "text": "Sure?"}]});
        let messages = [ask("Is it red or blue?"), json!({"role": "assistant", "content": "red"}), again];
        assert_eq!(
            written(PARTS_ONLY, &messages),
            "USER: <image>\nIs it red or blue? ASSISTANT: red USER: Sure? ASSISTANT:"
        );
        // The template's own words have it.
        assert_eq!(written(PARTS_ONLY, &[json!({"role": "user", "content": "A"})]), "USER: A ASSISTANT:");
    }

    #[test]
    fn each_message_is_put_into_the_form_that_is_read() {
        let system = json!({"role": "system", "content": "Be brief."});
        let user =
            json!({"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}]});
        let assistant = json!({"role": "assistant", "content": "it"});
        let messages = [system, user, assistant];
        for (source, expected) in [
            (PARTS_ONLY, "Be brief. USER: <image>\nWhat is it? ASSISTANT: it ASSISTANT:"),
            (FIRST_PART, "<<SYS>>\nBe brief.\n<</SYS>>\n\n[INST] <image>\nWhat is it? [/INST] it</s> "),
            (
                MARKED,
                "<|im_start|>system \nBe brief.<|im_end|><|im_start|>user <image>\nWhat is it?<|im_end|>\
                 <|im_start|>assistant \nit<|im_end|><|im_start|>assistant\n",
            ),
            (TEXTS_ONLY, "system:Be brief.;user:<image>\nWhat is it?;assistant:it;assistant:"),
            (MIXED, "system:Be brief.;user:<image>What is it?;assistant:it;"),
            (BLIND, "system:Be brief.;user:<image>\nWhat is it?;assistant:it;"),
        ] {
            assert_eq!(written(source, &messages), expected);
        }
    }
}
