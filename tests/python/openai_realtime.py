"""A text conversation over the official client's realtime connection; prints what came as one line of JSON.

python openai_realtime.py BASE_URL KEY MODEL
"""

import asyncio
import json
import sys

from openai import AsyncOpenAI

base_url, key, model = sys.argv[1:4]


async def main():
    client = AsyncOpenAI(base_url=base_url, api_key=key, max_retries=0)
    seen = []

    async with client.realtime.connect(model=model) as connection:

        async def until(*kinds):
            while True:
                event = await asyncio.wait_for(connection.recv(), 60)
                seen.append(event.type)
                if event.type in kinds:
                    return event

        async def say(text):
            content = [{"type": "input_text", "text": text}]
            item = {"type": "message", "role": "user", "content": content}
            await connection.conversation.item.create(item=item)
            return (await until("conversation.item.done")).item.id

        created = await until("session.created")
        await connection.session.update(
            session={"type": "realtime", "instructions": "Answer in one short sentence.", "output_modalities": ["text"]}
        )
        await until("session.updated")

        # A conversation: the pieces together are the answer.
        await say("What is the capital of France?")
        await connection.response.create(response={"max_output_tokens": 40})
        pieces = []
        while True:
            event = await until("response.output_text.delta", "response.output_text.done")
            if event.type == "response.output_text.done":
                text = event.text
                break
            pieces.append(event.delta)
        done = await until("response.done")
        answer = {
            "pieces": "".join(pieces),
            "text": text,
            "status": done.response.status,
            "output_tokens": done.response.usage.output_tokens,
        }

        # A response that is cancelled: its terminal event says so, and nothing of it follows.
        await say("Count from 1 to 1000, one number a line.")
        await connection.response.create()
        delta = await until("response.output_text.delta")
        await connection.response.cancel(response_id=delta.response_id)
        cancelled = await until("response.done")

        # An item that is deleted is gone.
        unwanted = await say("Forget this.")
        await connection.conversation.item.delete(item_id=unwanted)
        deleted = await until("conversation.item.deleted")
        await connection.conversation.item.retrieve(item_id=unwanted)
        missing = await until("error", "conversation.item.retrieved")

        # What is not spoken is refused by name, and the session lives on.
        await connection.input_audio_buffer.append(audio="AAAA")
        refused = await until("error")
        await say("Are you there?")

    print(
        json.dumps(
            {
                "session": created.session.model,
                "answer": answer,
                "cancelled": cancelled.response.status,
                "deleted": deleted.item_id == unwanted,
                "missing": missing.type,
                "refused": refused.error.message,
                "added": seen.count("conversation.item.added"),
                "done": seen.count("conversation.item.done"),
            }
        )
    )


asyncio.run(main())
