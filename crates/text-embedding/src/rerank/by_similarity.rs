//! Ranking by embeddings.

use std::future::IntoFuture;

use futures::future::BoxFuture;

use super::{Ranking, Rerank};
use crate::call::{CallOptions, Input, PromptChoice};
use crate::embedding::{TextEmbedding, in_order};
use crate::error::Error;

/// Names under which models keep the prompt for what is searched, in the order sentence-transformers tries them.
const DOCUMENT_PROMPTS: [&str; 3] = ["document", "passage", "corpus"];

impl IntoFuture for Rerank<TextEmbedding> {
    type Output = Result<Ranking, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let Self { pool, query, documents, options, top } = self;
            let query = pool.request(Input::Text(query), &prompted(&pool, &options, &["query"]))?;
            let of_documents = prompted(&pool, &options, &DOCUMENT_PROMPTS);
            let documents = documents.into_iter().map(Input::Text).collect();
            let mut requests = pool.requests(documents, &of_documents).await?;
            // The query comes last, so that the documents keep their positions in errors.
            requests.push(query);
            let mut tickets = pool.submit_all(requests, &options).await?;
            let query = tickets.pop().ok_or(pool_core::Error::Lost)?;
            let answers = async { Ok::<_, Error>(query.await?) };
            let (query, documents) = futures::future::try_join(answers, in_order(tickets)).await?;
            let tokens = query.tokens + documents.iter().map(|document| document.tokens).sum::<usize>();
            let similarity = pool.info().similarity;
            let scores = documents.iter().map(|document| similarity.between(&query, document));
            Ok(Ranking::new(scores, tokens).cut(top))
        })
    }
}

/// These options with the first of the model's prompts that has one of these names; else its default prompt.
fn prompted(pool: &TextEmbedding, options: &CallOptions, names: &[&str]) -> CallOptions {
    let known = names.iter().find(|name| pool.info().prompts.contains_key(**name));
    let prompt = known.map_or(PromptChoice::Default, |name| PromptChoice::Named((*name).to_owned()));
    CallOptions { prompt, ..options.clone() }
}
