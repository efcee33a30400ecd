import asyncio


async def main():
    return await asyncio.to_thread(sum, [1, 2])


assert asyncio.run(main()) == 3
