"""x"""
import sys, asyncio
from jobs.database import Database
from jobs.migrate import migrate
from jobs.settings import DatabaseSettings
from chassis.settings import load_settings
if sys.argv[1] == "migrate":
    async def main():
        db = Database(str(load_settings(DatabaseSettings).database_url), 2)
        await migrate(db.engine); await db.close()
    asyncio.run(main())
