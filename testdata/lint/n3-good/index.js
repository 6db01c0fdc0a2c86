console.log("service");
